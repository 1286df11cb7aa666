--- Where WordNet's files are.
local wordnet = { parts = { "noun", "verb", "adj", "adv" } }

local folders = { "/usr/share/wordnet", "/usr/local/share/wordnet", "/usr/share/wordnet-3.0/dict" }

--- The folder of data.noun and its like, or nil and what to do; given: the only one to look at.
function wordnet.folder(given)
  local first = given or os.getenv("WNSEARCHDIR")
  for _, folder in ipairs(given and { given } or { first or folders[1], table.unpack(folders) }) do
    local probe = io.open(folder .. "/data.noun", "r")
    if probe then
      probe:close()
      return folder
    end
  end
  return nil, given and given .. " has no data.noun"
    or "WordNet is not installed; on Debian: apt-get install wordnet-base"
end

return wordnet
