// OHIF's configuration: where the images are, and our mode and extension, which it imports as they are.

window.config = {
  name: "labelpod",
  routerBasename: "/ohif/",
  extensions: ["/ohif/labelpod/extension.js"],
  modes: ["/ohif/labelpod/mode.js"],
  // Nothing in them can save a label here.
  modesConfiguration: Object.fromEntries(
    [
      "@ohif/mode-longitudinal",
      "@ohif/mode-basic",
      "@ohif/mode-segmentation",
      "@ohif/mode-tmtv",
      "@ohif/mode-microscopy",
      "@ohif/mode-preclinical-4d",
      "@ohif/mode-ultrasound-pleura-bline",
      "@ohif/mode-basic-dev-mode",
      "@ohif/mode-test",
    ].map(mode => [mode, { hide: { $set: true } }]),
  ),
  customizationService: {},
  investigationalUseDialog: { option: "never" },
  showStudyList: true,
  showWarningMessageForCrossOrigin: true,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  httpErrorHandler: () => {}, // OHIF calls it without asking whether it is there; missing_slices.js does what is needed
  showErrorDetails: "production",
  defaultDataSourceName: "archive",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "archive",
      configuration: {
        friendlyName: "The archive",
        name: "archive",
        qidoRoot: "/proxy/dicom/qido",
        wadoRoot: "/proxy/dicom/wado",
        wadoUriRoot: "/proxy/dicom/wado",
        qidoSupportsIncludeField: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        dicomUploadEnabled: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true },
      },
    },
  ],
};

/** OHIF leaves the page black where a part of it does not come, as when a laptop changes its network. */
function lost({ reason, error }) {
  if ((reason ?? error)?.name !== "ChunkLoadError") return;
  const said = document.createElement("p");
  Object.assign(said, { role: "alert", textContent: "A part of the viewer did not come: load the page again." });
  said.style = "position: fixed; inset: 40% 0 auto; text-align: center; font: 1.2em sans-serif; color: #ffd9d9";
  document.body.append(said);
}
window.addEventListener("unhandledrejection", lost);
window.addEventListener("error", lost);
