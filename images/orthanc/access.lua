-- Who may ask Orthanc for what. Orthanc calls this for each request over HTTP whose login it has accepted, with the
-- method that counts and the path without its query; registered users are otherwise all-powerful.
--
-- The label server reads and stores images, and does nothing else: whoever takes it over gets no further.

local READ = { "^/dicom%-web/studies$", "^/dicom%-web/series$", "^/dicom%-web/instances$", "^/dicom%-web/studies/.+$" }
local STORE = { "^/dicom%-web/studies$", "^/dicom%-web/studies/[%d.]+$" }

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

function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  if username ~= "label-server" then
    return true
  end
  if not canonical(uri) then
    return false
  end
  return (method == "GET" and one_of(uri, READ)) or (method == "POST" and one_of(uri, STORE))
end
