import { useEffect, useState } from "react";

const CALM_MS = 1000; // for who wants nothing to move: the figures still go on

/** The time of `performance.now()`, again with every frame while it is wanted. */
export function useNow(isWanted) {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (!isWanted) return undefined;
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      const timer = setInterval(() => setNow(performance.now()), CALM_MS);
      return () => clearInterval(timer);
    }
    let frame = 0;
    const draw = () => {
      setNow(performance.now());
      frame = requestAnimationFrame(draw);
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [isWanted]);
  return now;
}
