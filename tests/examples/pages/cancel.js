import { cancellable } from "../cancel.js";
import { request } from "../request.js";

const button = document.querySelector("button");
setTimeout(() => button.click(), 500);
const { resume } = await cancellable(request, button);
document.querySelector("output").value = "cancelled";
document.querySelector("video").src = (await resume()).video_output;
