// A job of many files, uploaded by tus-js-client to two nodes in turn, and followed by three kinds of readers that come
// back by themselves. Options come as JSON in argv, what happened goes as JSON lines to stdout.
import { Client } from '@stomp/stompjs'
import { EventSource } from 'eventsource'
import * as tus from 'tus-js-client'
import { WebSocket } from 'ws'

const { origins, files, bytes, atOnce = 8, pauseMs = 0 } = JSON.parse(process.argv[2])
const STATES = ['upload.created', 'upload.finished']
const [first, second] = origins
const socketUrl = (origin, query) => `${origin.replace('http', 'ws')}/ws${query}`
const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

class Reader {
  constructor(name) {
    this.name = name
    this.states = []
    this.progress = 0
    this.gaps = 0
    this.opened = 0
    this.live = new Promise((resolve) => (this.isLive = resolve))
    this.done = new Promise((resolve) => (this.isDone = resolve))
  }

  take(event) {
    if (event.type === 'upload.progress') this.progress += 1
    else if (event.type === 'gap') this.gaps += 1
    else if (STATES.includes(event.type)) this.states.push(`${event.type} ${event.subject}`)
    if (this.states.filter((state) => state.startsWith('upload.finished')).length >= files) this.isDone()
  }

  report() {
    const { name, states, progress, gaps, opened } = this
    say('seen', { name, states, progress, gaps, opened })
  }
}

function byEventSource(job) {
  const reader = new Reader('eventsource')
  const source = new EventSource(`${second}/events?job=${job}&after=0`)
  for (const type of [...STATES, 'upload.progress', 'gap']) {
    source.addEventListener(type, (message) => reader.take(JSON.parse(message.data)))
  }
  source.addEventListener('open', () => (reader.opened += 1))
  source.addEventListener('live', () => reader.isLive())
  source.addEventListener('error', (error) => error.code && say('refused', { reader: reader.name, code: error.code }))
  reader.close = () => source.close()
  return reader
}

function byWebSocket(job) {
  const reader = new Reader('websocket')
  let [cursor, closed, socket] = ['0', false, null]
  const open = () => {
    socket = new WebSocket(socketUrl(second, `?job=${job}&after=${cursor}`), 'cloudevents.json')
    socket.onopen = () => (reader.opened += 1)
    socket.onmessage = (message) => {
      const event = JSON.parse(message.data)
      if (event.cursor) cursor = event.cursor
      if (event.type === 'live') reader.isLive()
      reader.take(event)
    }
    socket.onerror = () => {}
    socket.onclose = () => closed || setTimeout(open, 200)
  }
  open()
  reader.close = () => {
    closed = true
    socket.close()
  }
  return reader
}

function byStomp(job) {
  const reader = new Reader('stomp')
  let cursor = '0'
  const client = new Client({
    webSocketFactory: () => new WebSocket(socketUrl(second, ''), ['v12.stomp', 'v11.stomp', 'v10.stomp']),
    reconnectDelay: 200,
    heartbeatIncoming: 1000,
    heartbeatOutgoing: 1000,
    onConnect: () => {
      reader.opened += 1
      client.watchForReceipt('subscribed', () => reader.isLive())
      client.subscribe(
        `/topic/job/${job}`,
        (message) => {
          if (message.headers.cursor) cursor = message.headers.cursor
          reader.take(JSON.parse(message.body))
        },
        { after: cursor, receipt: 'subscribed' }
      )
    },
    onStompError: (frame) => say('refused', { reader: reader.name, message: frame.headers.message }),
  })
  client.activate()
  reader.close = () => client.deactivate()
  return reader
}

function upload(url, number) {
  return new Promise((resolve, reject) => {
    new tus.Upload(Buffer.alloc(bytes, number % 256), {
      uploadUrl: url,
      chunkSize: Math.ceil(bytes / 3),
      retryDelays: Array(40).fill(250),
      onError: reject,
      onSuccess: resolve,
    }).start()
  })
}

const asked = { files: Array.from({ length: files }, (_, number) => ({ name: `file-${number}`, length: bytes })) }
const answer = await fetch(`${first}/api/jobs`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(asked),
})
if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`)
const job = await answer.json()
const readers = [byEventSource(job.id), byWebSocket(job.id), byStomp(job.id)]
await Promise.all(readers.map((reader) => reader.live))
say('live', { job: job.id, uploads: job.files.map((file) => file.id) })

const waiting = job.files.map((file, number) => [new URL(file.url, origins[number % 2]).href, number])
let uploaded = 0
async function work() {
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    await upload(...next)
    uploaded += 1
    say('uploaded', { uploaded })
    await pause(pauseMs)
  }
}
await Promise.all(Array.from({ length: atOnce }, work))
await Promise.all(readers.map((reader) => reader.done))
for (const reader of readers) {
  reader.close()
  reader.report()
}
setTimeout(() => process.exit(0), 500).unref()
