// An intent and its answer from Node: npm install && node order.mjs redis://127.0.0.1:PORT my-id BTC/USDT buy 0.01
import { createClient } from "redis";

const [url, id, symbol, side, quantity] = process.argv.slice(2);
const client = createClient({ url, RESP: 2 });
client.on("error", (error) => console.error(error.message));
await client.connect();

const newest = await client.xRevRange("intent.result", "+", "-", { COUNT: 1 });
let since = newest.length ? newest[0].id : "0-0";
const body = { id, symbol, side, quantity, stop_loss: "2%", strategy: "node" }; // amounts are strings, never numbers
await client.xAdd("order.intent", "*", { body: JSON.stringify(body) });

const until = Date.now() + 10_000;
while (Date.now() < until) {
  const streams = await client.xRead({ key: "intent.result", id: since }, { BLOCK: 1000, COUNT: 100 });
  for (const entry of streams?.[0].messages ?? []) {
    since = entry.id;
    const answer = JSON.parse(entry.message.body);
    if (answer.intent_id === id && !["accepted", "unknown"].includes(answer.status)) {
      console.log(answer.status, answer.filled_quantity, answer.average_price ?? answer.reason);
      await client.close();
      process.exit(answer.status === "filled" ? 0 : 1);
    }
  }
}
console.error("no answer in time; asking again with the same id is safe");
process.exit(3);
