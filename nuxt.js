export { default } from './dist/nuxt/module.js'
