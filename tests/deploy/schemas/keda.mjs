// Says what KEDA's schema has against each ScaledObject that comes in: keda.mjs NODE_MODULES < objects.json
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const kind = 'ComGithubKedacoreKedaV2ApisKedaV1alpha1ScaledObject.js'
const folder = `${process.argv[2]}/@kubernetes-models/keda/_schemas/`
const { validate } = await import(pathToFileURL(folder + kind).href)
const faults = JSON.parse(readFileSync(0, 'utf8')).map((object) => (validate(object) ? [] : validate.errors))
console.log(JSON.stringify(faults.map((each) => each.map((error) => `${error.instancePath} ${error.keyword}`))))
