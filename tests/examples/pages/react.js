import { TemplateJobs } from "custom-template-jobs";
import { createElement, useState } from "react";
import { createRoot } from "react-dom/client";
import { useVideo } from "../react.jsx";
import { request } from "../request.js";

const jobs = new TemplateJobs({ relay: "/relay" });

function Page() {
  const [operation, setOperation] = useState();
  const { progress, video, error } = useVideo(jobs, operation);
  const make = () => {
    const charge = jobs.submit(request);
    charge.catch(() => {}); // the hook shows it
    setOperation(charge.operation);
  };
  return [
    createElement("button", { key: "make", onClick: make }, "Make"),
    createElement("output", { key: "output" }, String(error ?? progress)),
    video && createElement("video", { key: "video", src: video }),
  ];
}

createRoot(document.querySelector("main")).render(createElement(Page));
