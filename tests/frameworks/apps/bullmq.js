const { Queue, Worker } = require("bullmq");
const { asked, work, QUEUE, REDIS } = require("./job.js");

const connection = { host: REDIS.hostname, port: Number(REDIS.port), maxRetriesPerRequest: null };

async function enqueue({ numbers, seconds }) {
  const queue = new Queue(QUEUE, { connection });
  await queue.addBulk(numbers.map((number) => ({ name: "job", data: { number, seconds } })));
  await queue.close();
}

function serve() {
  const worker = new Worker(QUEUE, ({ data }) => work(data.number, data.seconds), { connection });
  worker.on("error", console.error);
  // BullMQ itself does nothing at a signal.
  process.on("SIGTERM", async () => {
    await worker.close();
    process.exit(0);
  });
}

const wanted = asked();
if (wanted) enqueue(wanted);
else serve();
