// A hook of React: the video of a job, its progress and its error, for as long as the component is mounted.

import { useEffect, useState } from "react";

export function useVideo(jobs, operation) {
  const [state, setState] = useState({ progress: null });
  useEffect(() => {
    if (!operation) return;
    const controller = new AbortController();
    const onUpdate = (_, { progress }) => setState({ progress });
    jobs.resume(operation).wait({ signal: controller.signal, onUpdate }).then(
      ({ video_output }) => setState({ progress: 1, video: video_output }),
      (error) => controller.signal.aborted || setState({ progress: null, error }),
    );
    return () => controller.abort();
  }, [jobs, operation]);
  return state;
}
