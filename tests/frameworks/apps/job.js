// What every job in here does; see job.py.
const fs = require("node:fs");
const { setTimeout: pause } = require("node:timers/promises");

const variable = (name) => process.env[name] ?? "-";

function note(word, number) {
  const fields = [word, number, variable("INVOCATION_ID"), variable("UNITQ_INSTANCE"), process.pid];
  fields.push(variable("UNITQ_REVISION"), Date.now() / 1000);
  fs.appendFileSync(process.env.PROOF_LINES, fields.join(" ") + "\n");
}

async function work(number, seconds) {
  note("begun", number);
  await pause(seconds * 1000);
  note("done", number);
}

// With "enqueue SECONDS FIRST COUNT" after its name a program puts in jobs instead of doing them.
function asked() {
  const [verb, seconds, first, count] = process.argv.slice(2);
  if (verb !== "enqueue") return null;
  const numbers = Array.from({ length: Number(count) }, (_, each) => String(Number(first) + each));
  return { numbers, seconds: Number(seconds) };
}

module.exports = { asked, work, QUEUE: process.env.PROOF_QUEUE, REDIS: new URL(process.env.PROOF_REDIS) };
