// A process that imports one library and makes its first call. It prints when the import began, in nanoseconds on the machine's
// monotonic clock.

const [, , script, base] = process.argv;
const begun = process.hrtime.bigint();
const { client } = await import(script);
await client(base)();
console.log(String(begun));
