// Runs an example of the documentation as a browser would: its URLs are relative to the page's server. `show` says what it
// shows. Options come as JSON in argv.
import { EventSource as Source } from 'eventsource'
import { WebSocket as Socket } from 'ws'

const { origin, job, upload, example } = JSON.parse(process.argv[2])

globalThis.job = job
globalThis.upload = upload
globalThis.show = (upload, text) => process.stdout.write(`${JSON.stringify({ upload, text })}\n`)
globalThis.EventSource = class extends Source {
  constructor(url, options) {
    super(new URL(url, origin).href, options)
  }
}
globalThis.WebSocket = class extends Socket {
  constructor(url, protocols) {
    super(new URL(url, origin.replace('http', 'ws')).href, protocols)
  }
}
const { fetch } = globalThis
globalThis.fetch = (url, options) => fetch(new URL(url, origin), options)
await import(example)
