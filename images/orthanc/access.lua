-- Who may ask Orthanc for what, and what it takes in. Orthanc calls the first filter for each request over HTTP whose
-- login it has accepted, with the method that counts and the path without its query; registered users are otherwise
-- all-powerful, and a browser sends the login that it remembers whichever page makes it ask.
--
-- Prometheus, as monitor, gets Orthanc's figures and nothing else.
-- The label server reads and stores images, asks which series there are by now and what is in them, takes back labels of
-- its own, and writes down who works on an image and what a reviewer said of a label: an attacker who controls it gets no
-- further.

local SETTINGS = GetOrthancConfiguration()["Labelpod"]

local READ = {
  "^/dicom%-web/studies$", "^/dicom%-web/series$", "^/dicom%-web/instances$", "^/dicom%-web/studies/.+$",
  "^/changes$", "^/statistics$", "^/series$", "^/series/[%x-]+$",
}
local STORE = { "^/dicom%-web/studies$", "^/dicom%-web/studies/[%d.]+$", "^/tools/lookup$", "^/tools/find$" }

-- Metadata of series that all label servers share; a lease ends, what a reviewer said goes with its label, and which
-- labels are confirmed goes with their image.
local SHARED = {
  "^/series/[%x-]+/metadata/labelpod%-lease$", "^/series/[%x-]+/metadata/labelpod%-review$",
  "^/series/[%x-]+/metadata/labelpod%-confirmed$",
}
local ENDS = { SHARED[1] }
local SHORT = 32768 -- bytes; the label server takes judgements of half that

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

-- What the label server shows for a deletion besides its login: who has stolen that deletes nothing.
local file = io.open("/run/secrets/label_deletion")
local PERMIT = file and file:read("l")

-- DICOMweb cannot delete; a label that was replaced or deleted is found by its UID and deleted as Orthanc does it.
local function label(path)
  local id = path:match("^/series/([%x-]+)$")
  if not id then
    return false
  end
  local found, series = pcall(function() return ParseJson(RestApiGet("/series/" .. id, false)) end)
  local tags = found and series and series["MainDicomTags"]
  return tags and tags["Modality"] == "SEG" and tags["Manufacturer"] == "labelpod"
end

-- Whether a page of another site, or of another port of this host, makes a browser ask. The scheme may be a tunnel's.
local function foreign(headers)
  local origin, site = headers["origin"], headers["sec-fetch-site"]
  if origin and origin:match("://(.+)$") ~= headers["host"] then
    return true
  end
  return site == "cross-site" or site == "same-site"
end

-- A link to a page of Orthanc's.
local function link(method, headers)
  return method == "GET" and headers["sec-fetch-dest"] == "document" and not headers["origin"]
end

-- Orthanc takes a GET with `?_method=DELETE` for a DELETE, and nobody can see it. But what comes as GET has neither a
-- body, not even one of no length, nor an origin of its own; browsers give their real changes both or one of them.
local function came_as_get(headers)
  return not (headers["content-length"] or headers["transfer-encoding"] or headers["origin"])
end

-- Orthanc holds several copies of what it takes in. Only the label server streams, and counts what it passes on.
local function too_long(username, headers)
  if headers["transfer-encoding"] then
    return username ~= "label-server"
  end
  return (tonumber(headers["content-length"]) or 0) > SETTINGS["MaximumBody"]
end

-- Whether a body is as short as what label servers share; all of it is listed at once.
local function short(headers)
  return not headers["transfer-encoding"] and (tonumber(headers["content-length"]) or 0) <= SHORT
end

function IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders)
  if foreign(httpHeaders) and not link(method, httpHeaders) then
    return false
  end
  if (method ~= "GET" and came_as_get(httpHeaders)) or too_long(username, httpHeaders) then
    return false
  end
  if username == "monitor" then
    return method == "GET" and uri == "/tools/metrics-prometheus"
  end
  if username ~= "label-server" then
    return true
  end
  if not canonical(uri) then
    return false
  end
  if one_of(uri, SHARED) then
    return method == "GET" or (method == "PUT" and short(httpHeaders)) or (method == "DELETE" and one_of(uri, ENDS))
  end
  if method == "DELETE" then
    return PERMIT ~= nil and httpHeaders["x-labelpod-deletion"] == PERMIT and label(uri)
  end
  return (method == "GET" and one_of(uri, READ)) or (method == "POST" and one_of(uri, STORE))
end

-- Images, and what is said of them: labels, contours, reports, registrations, presentations. Not what carries files of
-- other kinds, such as encapsulated documents and raw data, and nothing private.
local STORAGE = "^1%.2%.840%.10008%.5%.1%.4%.1%.1%."
local KINDS = {
  "1", "1%.[1-3]", "1%.[1-3]%.1", "2", "2%.[12]", "3%.1", "4", "4%.[134]", "6%.1", "6%.2", "7", "7%.[1-4]", "11%.%d+",
  "12%.1", "12%.1%.1", "12%.2", "12%.2%.1", "13%.1%.[1-5]", "20", "66%.[134-7]", "67", "77%.1%.[1-6]", "77%.1%.5%.[1-4]",
  "88%.%d+", "128", "128%.1", "130", "481%.[1-8]",
}

-- /proc/net/route has the bytes of an address in the other order.
local function octets(hex)
  local found = {}
  for each in hex:gmatch("%x%x") do
    table.insert(found, 1, tonumber(each, 16))
  end
  return found
end

local function within(address, network, mask)
  for place = 1, 4 do
    if address[place] - address[place] % (256 - mask[place]) ~= network[place] then
      return false
    end
  end
  return true
end

-- Whether another container of the stack asks: what comes through the port of this machine has an address from outside,
-- or the gateway's.
local function beside(ip)
  local address, inside = {}, false
  for each in ip:gmatch("%d+") do
    table.insert(address, tonumber(each))
  end
  for line in io.lines("/proc/net/route") do
    local network, gateway, mask = line:match("^%S+%s+(%x+)%s+(%x+)%s+%x+%s+%d+%s+%d+%s+%d+%s+(%x+)")
    if network and gateway == "00000000" then
      inside = inside or within(address, octets(network), octets(mask))
    elseif network and within(address, octets(gateway), { 255, 255, 255, 255 }) then
      return false
    end
  end
  return inside
end

function ReceivedInstanceFilter(dicom, origin, info)
  if origin["RequestOrigin"] == "DicomProtocol" and beside(origin["RemoteIp"]) then
    print("refused an instance that another container sent over DICOM: " .. origin["RemoteIp"])
    return false
  end
  local kind = (dicom["SOPClassUID"] or ""):gsub("[^%d.]", "")
  for _, pattern in ipairs(KINDS) do
    if kind:match(STORAGE .. pattern .. "$") then
      return true
    end
  end
  if kind ~= "" and ("," .. SETTINGS["Kinds"] .. ","):find("," .. kind .. ",", 1, true) then
    return true
  end
  print("refused an instance of a kind that does not belong here: " .. kind)
  return false
end
