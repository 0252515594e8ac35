// An explorer's frame is as high as its page, which says so whenever that changes.
addEventListener("message", ({ data, source }) => {
  const frame = [...document.querySelectorAll(".explorer iframe")].find(({ contentWindow }) => contentWindow === source);
  if (frame && data.height > 0) frame.style.height = `${data.height + 2}px`; // and its border
});
