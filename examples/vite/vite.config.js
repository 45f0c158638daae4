// The page calls its own origin. While developing, Vite passes /relay on: to the sandbox, or to what RELAY names.

const target = process.env.RELAY ?? "http://127.0.0.1:8787";
// A relay answers pages of its own origin alone, and to it this proxy is one.
const proxy = { "/relay": { target, changeOrigin: true, headers: { origin: target } } };

export default { server: { proxy }, preview: { proxy } };
