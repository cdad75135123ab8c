-- Who may ask Orthanc for what. Orthanc calls this for each request over HTTP whose login it has accepted, with the
-- method that counts and the path without its query; registered users are otherwise all-powerful.
--
-- The label server reads and stores images, asks which series there are by now, and takes back labels of its own:
-- an attacker who controls it gets no further.

local READ = {
  "^/dicom%-web/studies$", "^/dicom%-web/series$", "^/dicom%-web/instances$", "^/dicom%-web/studies/.+$",
  "^/changes$", "^/statistics$", "^/series$", "^/series/[%x-]+$",
}
local STORE = { "^/dicom%-web/studies$", "^/dicom%-web/studies/[%d.]+$", "^/tools/lookup$" }

-- A path that could mean another one than it says is refused, however Orthanc would read it.
local function canonical(path)
  return path:match("^[%w%-._,/]+$") and not (path .. "/"):find("/%.%.?/") and not path:find("//")
end

local function one_of(path, patterns)
  for _, pattern in ipairs(patterns) do
    if path:match(pattern) then
      return true
    end
  end
  return false
end

-- DICOMweb cannot delete; a label that was replaced or deleted is found by its UID and deleted as Orthanc does it.
local function own_label(path)
  local id = path:match("^/series/([%x-]+)$")
  if not id then
    return false
  end
  local found, series = pcall(function() return ParseJson(RestApiGet("/series/" .. id, false)) end)
  local tags = found and series and series["MainDicomTags"]
  return tags and tags["Modality"] == "SEG" and tags["Manufacturer"] == "labelpod"
end

function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  if username ~= "label-server" then
    return true
  end
  if not canonical(uri) then
    return false
  end
  if method == "DELETE" then
    return own_label(uri)
  end
  return (method == "GET" and one_of(uri, READ)) or (method == "POST" and one_of(uri, STORE))
end
