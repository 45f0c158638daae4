// An OpenTelemetry span for each request.

import { SpanStatusCode, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("custom-template-jobs");

/** Pass this as `onEvent`. */
export function traced(event) {
  if (event.type !== "response") return;
  const { method, path, status, ms, attempt, operation } = event;
  const end = Date.now();
  const span = tracer.startSpan(`${method} ${path}`, { startTime: end - ms });
  span.setAttributes({ "http.request.method": method, "url.path": path, "http.response.status_code": status, "http.request.resend_count": attempt - 1 });
  if (operation) span.setAttribute("creatify.operation", operation);
  if (status >= 400) span.setStatus({ code: SpanStatusCode.ERROR });
  span.end(end);
}
