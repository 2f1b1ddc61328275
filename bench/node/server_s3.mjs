// @tus/server with its S3 store as its documentation shows it. Arguments: port, endpoint; credentials by environment.
import {createServer} from 'node:http'
import {S3Store} from '@tus/s3-store'
import {Server} from '@tus/server'

const [port, endpoint] = process.argv.slice(2)
const datastore = new S3Store({
  partSize: 8 * 1024 * 1024,
  s3ClientConfig: {bucket: 'bench', region: 'us-east-1', endpoint, forcePathStyle: true},
})
const tus = new Server({path: '/files', datastore})
createServer((request, response) => tus.handle(request, response)).listen(Number(port), '127.0.0.1')
