// One quick start of one client for Node, as its documentation has it:
//
//     node quickstarts.mjs CLIENT FEATURE http://127.0.0.1:8000 MODEL FOLDER
//
// FOLDER holds node_modules. Exits with 0 where the client got what it asks for; else it throws.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const [client, feature, url, model, folder] = process.argv.slice(2);
const require = createRequire(join(resolve(folder), "package.json"));
const table = {};
const quick = (name, what, run) => (table[`${name} ${what}`] = run);

const QUESTION = "Name the capital of France in one word.";
const SUM = "Use the tool add to find 20 + 22. Then tell me the result in a sentence.";
const NUMBERS = {
  type: "object",
  properties: { a: { type: "integer" }, b: { type: "integer" } },
  required: ["a", "b"],
  additionalProperties: false,
};
const PERSON = {
  type: "object",
  properties: { name: { type: "string", maxLength: 40 }, age: { type: "integer", minimum: 0, maximum: 150 } },
  required: ["name", "age"],
  additionalProperties: false,
};
const user = (text) => [{ role: "user", content: text }];

// openai

const openai = () => new (require("openai").OpenAI)({ baseURL: `${url}/v1`, apiKey: "none", timeout: 300_000 });

quick("openai (Node)", "chat", async () => {
  const said = await openai().chat.completions.create({ model, messages: user(QUESTION), max_tokens: 20 });
  assert(said.choices[0].message.content);
});

quick("openai (Node)", "stream", async () => {
  const stream = await openai().chat.completions.create({ model, messages: user(QUESTION), max_tokens: 20, stream: true });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  assert(text);
});

quick("openai (Node)", "tools", async () => {
  const calls = [];
  const add = {
    type: "function",
    function: {
      name: "add",
      description: "Add two integers.",
      parameters: NUMBERS,
      parse: JSON.parse,
      function: (given) => (calls.push(given), String(given.a + given.b)),
    },
  };
  const runner = openai().chat.completions.runTools({ model, messages: user(SUM), tools: [add], temperature: 0, max_tokens: 120 });
  const last = await runner.finalContent();
  assert.deepEqual(calls[0], { a: 20, b: 22 });
  assert.match(last, /42/);
});

quick("openai (Node)", "structured", async () => {
  const said = await openai().chat.completions.create({
    model,
    messages: user("Extract: John Doe is 30 years old."),
    max_tokens: 120,
    response_format: { type: "json_schema", json_schema: { name: "person", strict: true, schema: PERSON } },
  });
  const person = JSON.parse(said.choices[0].message.content);
  assert.equal(typeof person.name, "string");
  assert(Number.isInteger(person.age));
});

quick("openai (Node)", "responses", async () => {
  const said = await openai().responses.create({ model, input: QUESTION, max_output_tokens: 20 });
  assert(said.output_text);
  const stream = openai().responses.stream({ model, input: QUESTION, max_output_tokens: 20 });
  assert((await stream.finalResponse()).output_text);
});

quick("openai (Node)", "logprobs", async () => {
  const said = await openai().chat.completions.create({
    model,
    messages: user(QUESTION),
    max_tokens: 5,
    logprobs: true,
    top_logprobs: 3,
  });
  assert.equal(said.choices[0].logprobs.content[0].top_logprobs.length, 3);
});

quick("openai (Node)", "confidence", async () => {
  const said = await openai().chat.completions.create({
    model,
    messages: user("What is 3 + 4?"),
    reasoning_effort: "low",
    seed: 1,
    max_tokens: 120,
  });
  const { vote, result } = said.entropix.choices[0];
  assert(vote.answer);
  assert(result.confidence > 0 && result.confidence <= 1);
});

// Vercel's AI SDK

const ai = () => {
  const { createOpenAICompatible } = require("@ai-sdk/openai-compatible");
  return [require("ai"), createOpenAICompatible({ name: "entropix", baseURL: `${url}/v1` })(model)];
};

quick("ai", "chat", async () => {
  const [{ generateText }, on] = ai();
  assert((await generateText({ model: on, prompt: QUESTION, maxOutputTokens: 20 })).text);
});

quick("ai", "stream", async () => {
  const [{ streamText }, on] = ai();
  let text = "";
  for await (const part of streamText({ model: on, prompt: QUESTION, maxOutputTokens: 20 }).textStream) text += part;
  assert(text);
});

quick("ai", "tools", async () => {
  const [{ generateText, jsonSchema, stepCountIs, tool }, on] = ai();
  const calls = [];
  const add = tool({
    description: "Add two integers.",
    inputSchema: jsonSchema(NUMBERS),
    execute: async ({ a, b }) => (calls.push({ a, b }), a + b),
  });
  const said = await generateText({
    model: on,
    prompt: SUM,
    tools: { add },
    stopWhen: stepCountIs(3),
    temperature: 0,
    maxOutputTokens: 120,
  });
  assert.deepEqual(calls[0], { a: 20, b: 22 });
  assert.match(said.text, /42/);
});

quick("ai", "structured", async () => {
  const [{ generateObject, jsonSchema }, on] = ai();
  const said = await generateObject({
    model: on,
    schema: jsonSchema(PERSON),
    prompt: "Extract: John Doe is 30 years old.",
    maxOutputTokens: 120,
  });
  assert(Number.isInteger(said.object.age));
});

await table[`${client} ${feature}`]();
