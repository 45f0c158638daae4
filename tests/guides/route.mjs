// Loaded before a sample: the provider and the sandbox's usual address are the sandbox of the test.

const { SAMPLE_SANDBOX } = process.env;
const real = globalThis.fetch;
const moved = (url) => url.replace(/^(https:\/\/api\.creatify\.ai|http:\/\/127\.0\.0\.1:8787)/, SAMPLE_SANDBOX);

globalThis.fetch = (input, init) => (input instanceof Request ? real(new Request(moved(input.url), input), init) : real(moved(String(input)), init));
