// A Cloudflare Worker that submits videos and stores each one when its webhook arrives. The journal is in a Durable Object, so an
// order that is posted twice is charged once.

import { DurableObject } from "cloudflare:workers";
import { TemplateJobs, defineTemplate, text } from "custom-template-jobs";
import { durableObjectJournal } from "custom-template-jobs/durable-object";

export class Videos extends DurableObject {
  greeting = defineTemplate(this.env.TEMPLATE, { title: text }, { seconds: 15 });
  jobs = new TemplateJobs({ baseUrl: this.env.CREATIFY_URL, apiId: this.env.CREATIFY_ID, apiKey: this.env.CREATIFY_KEY, journal: durableObjectJournal(this.ctx.storage) });

  async fetch(request) {
    const { origin, pathname } = new URL(request.url);
    if (pathname === "/hook") {
      const { job, operation } = await this.jobs.handleWebhook(request);
      if (operation && job.video_output) await this.ctx.storage.put(`video:${operation.operation}`, job.video_output);
      return new Response();
    }
    const { order, title } = await request.json();
    const webhook_url = `${origin}/hook?operation={operation}`;
    return Response.json(await this.jobs.submit(this.greeting({ title }, { webhook_url }), { operation: order }));
  }
}

export default { fetch: (request, env) => env.VIDEOS.get(env.VIDEOS.idFromName("all")).fetch(request) };
