"""Named by dicomweb_client when it is imported; nothing here logs in to Google."""
