// One run of tus-js-client: options come as JSON in argv, what happened goes as JSON lines to stdout.
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import * as tus from 'tus-js-client'

const { file, as = 'buffer', abortAt, terminate, resume, storage, pauseMs = 0, copies = 1, ...given } = JSON.parse(process.argv[2])

const say = (event, fields = {}) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)

function open() {
  const content = readFileSync(file)
  if (as === 'file') return createReadStream(file)
  if (as === 'stream') return Readable.from(slowly(content))
  return content
}

async function* slowly(content) {
  for (let start = 0; start < content.length; start += 65536) {
    yield content.subarray(start, start + 65536)
    if (pauseMs) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}

// A source as a slow disk or a slow line would be: its bodies last long enough to be interrupted.
const slowReader = {
  openFile: async (content) => ({
    size: content.length,
    slice: async (start, end) => {
      const part = content.subarray(start, end)
      return { value: Object.assign(Readable.from(slowly(part)), { size: part.length }), done: end >= content.length }
    },
    close: () => {},
  }),
}

function run(copy) {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(open(), {
      ...(storage && { urlStorage: new tus.FileUrlStorage(storage) }),
      // The default is a hash of path and times, which a Buffer does not have.
      fingerprint: async () => createHash('sha256').update(file).digest('hex'),
      ...(as === 'slow' && { fileReader: slowReader }),
      ...given,
      onProgress: (sent, total) => say('progress', { copy, sent, total }),
      onChunkComplete: (size, accepted, total) => {
        say('chunk', { copy, accepted, total })
        if (abortAt !== undefined && accepted >= abortAt) {
          upload.abort(Boolean(terminate)).then(() => {
            say(terminate ? 'terminated' : 'aborted', { copy, url: upload.url })
            resolve()
          }, reject)
        }
      },
      onAfterResponse: (request, response) =>
        say('answer', { copy, method: request.getMethod(), status: response.getStatus() }),
      onError: reject,
      onSuccess: () => {
        say('success', { copy, url: upload.url })
        resolve()
      },
    })
    if (!resume) return upload.start()
    upload.findPreviousUploads().then((previous) => {
      say('previous', { copy, count: previous.length })
      upload.resumeFromPreviousUpload(previous[0])
      upload.start()
    }, reject)
  })
}

try {
  await Promise.all(Array.from({ length: copies }, (_, copy) => run(copy)))
} catch (error) {
  say('error', { message: String(error), status: error.originalResponse?.getStatus() ?? null })
  process.exitCode = 1
}
