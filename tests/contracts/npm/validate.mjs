// What the AsyncAPI initiative's own parser says of the document, and Ajv of schemas and of values.
// Arguments: the folder of node_modules. Standard input: {"document", "schemas": {id: schema}, "values": [[id,
// value], …]}. Standard output: {"diagnostics": […], "schemas": {id: error}, "examples": {message: error},
// "values": [whether each fits]}.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.argv[2], 'here.js'));
const { Parser } = require('@asyncapi/parser');
const Ajv = require('ajv/dist/2020').default;
const addFormats = require('ajv-formats').default;

const asked = JSON.parse(readFileSync(0, 'utf-8'));
const { document, diagnostics } = await new Parser().parse(JSON.stringify(asked.document));

// Strict: unknown keywords and formats are errors. What Ajv does not judge is said to be so.
const ajv = new Ajv({ strict: true, strictTypes: false, strictRequired: false, allErrors: true });
addFormats(ajv);
const checks = {};
const schemas = {};
for (const [id, schema] of Object.entries(asked.schemas)) {
  try {
    checks[id] = ajv.compile(schema);
  } catch (error) {
    schemas[id] = error.message;
  }
}
// The parser leaves the examples of AsyncAPI 3 alone, so Ajv judges them by the document's own schemas.
const named = JSON.stringify(asked.document.components.schemas).replaceAll('#/components/schemas/', '#/$defs/');
const examples = {};
for (const [name, message] of Object.entries(asked.document.components.messages)) {
  for (const part of ['headers', 'payload']) {
    if (!(part in message)) continue;
    const $ref = message[part].$ref.replace('#/components/schemas/', '#/$defs/');
    const fits = ajv.compile({ $ref, $defs: JSON.parse(named) });
    if (!message.examples?.length) examples[`${name}: ${part}`] = 'no example';
    for (const example of message.examples ?? []) {
      if (!fits(example[part])) examples[`${name}: ${part}`] = ajv.errorsText(fits.errors);
    }
  }
}
const values = asked.values.map(([id, value]) => Boolean(checks[id]?.(value)));
process.stdout.write(
  JSON.stringify({
    channels: document ? document.channels().all().map((channel) => channel.address()) : [],
    messages: document ? document.messages().all().map((message) => message.name()) : [],
    diagnostics: diagnostics.map(({ severity, code, message, path }) => ({ severity, code, message, path })),
    schemas,
    examples,
    values,
  }),
);
