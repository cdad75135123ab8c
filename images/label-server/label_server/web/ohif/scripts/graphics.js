// The WebGL contexts of the views. A browser has sixteen for all of a site's tabs, and takes the oldest one away for the
// next, whoever draws with it; OHIF makes seven for each CT, and leaves them to be collected some time.

const VIEWS = 3;

/** Have no more made than there are views; where there are more views, some share one. */
export function limit() {
  const configuration = cornerstone.getConfiguration();
  const rendering = { ...configuration.rendering, webGlContextCount: VIEWS };
  cornerstone.setConfiguration({ ...configuration, rendering });
}

/** What gives back the contexts that are in use now. */
export function release() {
  const used = cornerstone.getRenderingEngines().flatMap(engine =>
    engine.getViewports().map(({ id }) => engine.getOffscreenMultiRenderWindow(id)?.getOpenGLRenderWindow().get3DContext()),
  );
  return () => used.forEach(context => context?.getExtension("WEBGL_lose_context")?.loseContext());
}
