// What a person does with the services, by the types that openapi-typescript makes of their documents: it compiles only
// if names, members and answers are as documented, and prints what a test compares.
import createClient from "openapi-fetch";

import type { paths as StocksPaths } from "./stocks.js";
import type { paths as UsersPaths } from "./users.js";
import type { paths as WalletPaths } from "./wallet.js";

declare const process: { argv: string[] };

const [usersUrl, walletUrl, stocksUrl, email, password] = process.argv.slice(2) as [string, string, string, string, string];
const MISSING = "00000000-0000-4000-8000-000000000000";

const users = createClient<UsersPaths>({ baseUrl: usersUrl });
await users.POST("/users/register", { body: { name: "Typed", email, password, type: "investor" } });
const session = await users.POST("/users/login", { body: { email, password } });
if (session.error !== undefined) throw new Error(session.error.code);
const headers = { authorization: `Bearer ${session.data.accessToken}` };

const wallet = createClient<WalletPaths>({ baseUrl: walletUrl, headers });
const deposit = {
  body: { type: "deposit", currency: "USD", amount: "1000.00" },
  params: { header: { "Idempotency-Key": "typed-1" } },
} as const;
const first = await wallet.POST("/transactions", deposit);
const again = await wallet.POST("/transactions", deposit);
const deposits = await wallet.GET("/transactions", { params: { query: { type: "deposit", limit: 1 } } });
const found = await wallet.GET("/transactions/{transactionId}", {
  params: { path: { transactionId: first.data?.id ?? MISSING } },
});

const stocks = createClient<StocksPaths>({ baseUrl: stocksUrl, headers });
const listed = await stocks.GET("/stocks", { params: { query: { limit: 100 } } });
const stock = listed.data?.items.find((each) => each.currency === "USD");
if (stock === undefined) throw new Error("no stock in dollars");
const order = await stocks.POST("/orders", {
  body: { stockId: stock.id, side: "buy", type: "market", quantity: "1", timeInForce: "day" },
});
const shown = await stocks.GET("/orders/{orderId}", { params: { path: { orderId: order.data?.id ?? MISSING } } });
const missing = await stocks.GET("/orders/{orderId}", { params: { path: { orderId: MISSING } } });
const refused = await stocks.POST("/orders", {
  body: { stockId: stock.id, side: "buy", type: "market", quantity: "1000", timeInForce: "day" },
});

console.log(
  JSON.stringify({
    replayed: again.response.headers.get("idempotent-replayed"),
    same: first.data !== undefined && first.data.id === again.data?.id && first.data.id === found.data?.id,
    deposits: deposits.data?.items.map((each) => each.amount),
    status: shown.data?.status,
    quantity: shown.data?.quantity,
    missing: missing.error?.code,
    refused: refused.error?.code,
    namesTheOrder: refused.error?.orderId !== undefined,
  }),
);
