const { Queue, Worker } = require("node-resque");
const { asked, work, QUEUE, REDIS } = require("./job.js");

const connection = { host: REDIS.hostname, port: Number(REDIS.port), namespace: "resque", pkg: "ioredis", database: 0 };
const jobs = { job: { perform: work } };

async function enqueue({ numbers, seconds }) {
  const queue = new Queue({ connection }, jobs);
  await queue.connect();
  for (const number of numbers) await queue.enqueue(QUEUE, "job", [number, seconds]);
  await queue.end();
}

async function serve() {
  const worker = new Worker({ connection, queues: [QUEUE], timeout: 200 }, jobs);
  worker.on("error", console.error);
  await worker.connect();
  worker.start();
  // node-resque itself does nothing at a signal.
  process.on("SIGTERM", async () => {
    await worker.end();
    process.exit(0);
  });
}

const wanted = asked();
if (wanted) enqueue(wanted);
else serve();
