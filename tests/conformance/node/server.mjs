// @tus/server with its file store on a loopback port.
// Arguments: the directory of the uploads, the port, and how many milliseconds an unfinished upload lives (0: for ever).
import {createServer} from 'node:http'
import {FileStore} from '@tus/file-store'
import {Server} from '@tus/server'

const [directory, port, life = '0'] = process.argv.slice(2)
const datastore = new FileStore({directory, expirationPeriodInMilliseconds: Number(life)})
const tus = new Server({path: '/files', datastore})
createServer((request, response) => tus.handle(request, response)).listen(Number(port), '127.0.0.1')
