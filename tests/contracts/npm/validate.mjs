// What the AsyncAPI initiative's own parser says of documents, and Ajv of schemas and of values.
// Arguments: the folder of node_modules. Standard input: {"documents": […], "schemas": {id: schema}, "values":
// [[id, value], …]}. Standard output: {"documents": [{"diagnostics": […], "channels": […], "messages": […],
// "examples": {message: error}}, …], "schemas": {id: error}, "values": [whether each fits]}.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'here.js'));
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

// Strict: unknown keywords and formats are errors. What Ajv does not judge is said to be so.
const made = () => addFormats(new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true }));

// The parser leaves the examples of AsyncAPI 3 alone, so Ajv judges them by the document's own schemas.
function ofExamples(document) {
  const ajv = made();
  const $defs = JSON.parse(
    JSON.stringify(document.components.schemas).replaceAll('#/components/schemas/', '#/$defs/'),
  );
  const errors = {};
  for (const [name, message] of Object.entries(document.components.messages)) {
    for (const part of ['headers', 'payload']) {
      if (!(part in message)) continue;
      const $ref = message[part].$ref.replace('#/components/schemas/', '#/$defs/');
      const fits = ajv.compile({ $ref, $defs });
      if (!message.examples?.length) errors[`${name}: ${part}`] = 'no example';
      for (const example of message.examples ?? []) {
        if (!fits(example[part])) errors[`${name}: ${part}`] = ajv.errorsText(fits.errors);
      }
    }
  }
  return errors;
}

async function judged(given) {
  const { document, diagnostics } = await new Parser().parse(JSON.stringify(given));
  return {
    diagnostics: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path })),
    channels: document ? document.channels().all().map((channel) => channel.address()) : [],
    messages: document ? document.messages().all().map((message) => message.name()) : [],
    examples: ofExamples(given),
  };
}

const asked = JSON.parse(readFileSync(0, 'utf-8'));
const ajv = made();
const checks = {};
const schemas = {};
for (const [id, schema] of Object.entries(asked.schemas)) {
  try {
    checks[id] = ajv.compile(schema);
  } catch (error) {
    schemas[id] = error.message;
  }
}
const values = asked.values.map(([id, value]) => Boolean(checks[id]?.(value)));
const documents = [];
for (const each of asked.documents) documents.push(await judged(each));
process.stdout.write(JSON.stringify({ documents, schemas, values }));
