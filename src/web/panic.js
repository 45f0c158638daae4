// The panic hook calls this before the module aborts.

let handler = console.error;
export const onPanic = (call) => void (handler = call);
export const panicked = (message) => handler(message);
