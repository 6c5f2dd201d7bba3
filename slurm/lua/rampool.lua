-- rampool's part of job_submit.lua: what a job asks for is checked while its user still looks on.
-- For Lua 5.1, as Debian's slurmctld has it, without any module.
--
-- It runs inside slurmctld, under its locks: it asks nobody and reads one small file, the facts
-- that rampool-controller keeps. What can't be known here (no file, an old one) is accepted; the
-- job's prolog looks again.

local M = {
	facts = "/run/rampool-slurm/facts",
	-- The burst buffer's pool of all donors outside of jobs.
	pool = "rampool",
	-- What stands for "not given" in a job's numbers, and in those of 16 bits (NO_VAL and NO_VAL16
	-- of slurm.h).
	not_given = 4294967294,
	not_given_16 = 65534,
}

-- Ends the reading of a job with a sentence for its user.
local function refuse(...)
	error({ sentence = string.format(...) }, 0)
end

local MIB = 1048576
local GIB = 1024 * MIB
local REDUNDANCIES = { none = true, mirror = true, parity = true, ["double-parity"] = true }

-- The facts, or nil where there are none that can be believed.
local function read_facts(path)
	local file = io.open(path)
	if not file then return nil end
	local facts = {
		profiles = {}, suspends = {},
		exclusive = {}, defaults = {}, overhead_part = math.huge,
	}
	local whole, known_form
	for line in file:lines() do
		local word = {}
		for w in line:gmatch("%S+") do word[#word + 1] = w end
		if word[1] == "rampool-facts" then known_form = word[2] == "3"
		elseif word[1] == "written" then facts.written = tonumber(word[2])
		elseif word[1] == "fresh-for" then facts.fresh_for = tonumber(word[2])
		elseif word[1] == "profile" then
			facts.profiles[word[2]] = { lend = word[3], redundancy = word[4] }
			facts.example = facts.example or word[2]
		elseif word[1] == "licences" then
			facts.licences, facts.donors = tonumber(word[2]), tonumber(word[3])
		elseif word[1] == "buffer-mib" then
			facts.buffer = { mib = tonumber(word[2]), free_mib = tonumber(word[3]) }
			facts.donors = tonumber(word[4])
		elseif word[1] == "lendable-mib" then
			facts[word[2]] = {}
			for i = 3, #word do
				local count, mib = word[i]:match("^(%d+)x(%d+)$")
				table.insert(facts[word[2]], { count = tonumber(count), bytes = tonumber(mib) * MIB })
			end
		elseif word[1] == "suspends" then facts.suspends[word[2]] = true
		elseif word[1] == "size-mib" then
			local profile = facts.profiles[word[2]]
			profile.unit, profile.mib, profile.spares = word[3], tonumber(word[4]), tonumber(word[5])
		elseif word[1] == "overhead-part" then facts.overhead_part = tonumber(word[2])
		elseif word[1] == "exclusive" then facts.exclusive[word[2]] = true
		elseif word[1] == "default-mib" then
			facts.defaults[word[2]] = { unit = word[3], mib = tonumber(word[4]) }
		elseif word[1] == "default-partition" then facts.default_partition = word[2]
		elseif word[1] == "end" then whole = true
		end
	end
	file:close()
	if not (known_form and whole and facts.written and facts.fresh_for) then return nil end
	if os.time() > facts.written + facts.fresh_for then return nil end
	return facts
end

-- The profile that a constraint asks for, by the rule of slurm/src/constraint.rs: a word of its
-- own, which all nodes of the job must have.
local function profile_of(expression, profiles)
	local groups = { { before_last = 0 } }
	local function close()
		local inner = table.remove(groups)
		if #groups == 0 then groups[1] = { before_last = 0 } end
		local outer = groups[#groups]
		outer.before_last = #outer
		for _, mention in ipairs(inner) do
			mention.for_all = mention.for_all and not inner.is_choice
			table.insert(outer, mention)
		end
	end
	local position, negated = 1, false
	while position <= #expression do
		local part = expression:match("^%*[^&|,()%[%]!*]*", position)
			or expression:match("^[&|,()%[%]!]", position)
			or expression:match("^[^&|,()%[%]!*]+", position)
		position = position + #part
		local group = groups[#groups]
		if part == "(" or part == "[" then table.insert(groups, { before_last = 0 })
		elseif part == ")" or part == "]" then close()
		elseif part == "|" then group.is_choice = true
		elseif part == "&" or part == "," or part == "!" then -- all of them, or not that one
		elseif part:sub(1, 1) == "*" then
			for i = group.before_last + 1, #group do group[i].for_all = false end
		else
			group.before_last = #group
			if profiles[part] and not negated then
				table.insert(group, { name = part, for_all = true })
			end
		end
		negated = part == "!"
	end
	while #groups > 1 do close() end
	local found
	for _, mention in ipairs(groups[1]) do
		local name = mention.name
		if not mention.for_all or groups[1].is_choice then
			refuse("rampool: --constraint asks for %s on some nodes or as one choice of several; "
				.. "a pool is for the whole job: write %s&(the rest)", name, name)
		end
		if found and found ~= name then
			refuse("rampool: --constraint asks for %s and for %s; a job has one pool: "
				.. "name one of them", found, name)
		end
		found = name
	end
	return found
end

local POWERS = { K = 1, M = 2, G = 3, T = 4, P = 5, E = 6 }

-- A size in bytes: 200G and 200GiB are powers of 1024, 200GB of 1000. A double holds whole
-- multiples of a unit exactly enough to compare them.
local function bytes_of(text)
	local number, unit = text:match("^([%d.]+)(%a*)$")
	local whole, fraction = (number or ""):match("^(%d+)%.?(%d*)$")
	if not whole or number:sub(-1) == "." then
		refuse('rampool: size "%s" is no size: write it like 200G or 1.5T', text)
	end
	local letter, rest = unit:match("^(%a)(%a*)$")
	local base = (rest == "B" and 1000) or ((rest == "" or rest == "i" or rest == "iB") and 1024)
	local power = POWERS[letter] or (unit == "kB" and 1)
	local multiple = unit == "B" and 1 or (power and base and base ^ power)
	if not multiple then
		refuse('rampool: size "%s": write the unit, as in %sG or %sT', text, whole, whole)
	end
	fraction = fraction:gsub("0+$", "")
	-- Eighths of powers of 1024 are whole, and thousandths of powers of 1000; of a byte nothing is.
	local eighths = base == 1000 or tonumber("0." .. fraction .. "0") % 0.125 == 0
	if fraction ~= "" and (#fraction > 3 or multiple == 1 or not eighths) then
		refuse('rampool: size "%s" is no whole number of bytes: write it in a smaller unit', text)
	end
	local bytes = tonumber(number) * multiple
	if bytes == 0 or bytes >= 2 ^ 64 then
		refuse('rampool: size "%s" is no size that a pool can have', text)
	end
	return bytes
end

-- Adds an option, NAME=VALUE, to those that a job gives.
local function set(wish, option)
	local name, value = option:match("^([^=]*)=(.*)$")
	if not name then
		refuse('rampool: "%s" is no option: write NAME=VALUE, like size=200G', option)
	elseif name == "size" then bytes_of(value)
	elseif name == "redundancy" then
		if not REDUNDANCIES[value] then
			refuse('rampool: redundancy "%s": none, mirror, parity or double-parity can be given', value)
		end
	else
		refuse('rampool: there is no option "%s": size and redundancy can be given', name)
	end
	if wish[name] then refuse('rampool: "%s" is given twice', name) end
	wish[name] = value
	wish.given = true
end

-- The lines "#RAMPOOL ..." of a batch script: those above its first command, as with #SBATCH.
local function of_script(script, wish)
	for line in (script or ""):gmatch("[^\n]+") do
		if line:match("^%s*[^#%s]") then return end
		local options = line:match("^#RAMPOOL%s*(.*)$")
		for option in (options or ""):gmatch("%S+") do set(wish, option) end
	end
end

-- The word "rampool:..." of a comment, which is returned without it.
local function of_comment(comment, wish)
	local others = {}
	for word in (comment or ""):gmatch("%S+") do
		local options = word:match("^rampool:(.*)$")
		if not options then others[#others + 1] = word end
		for option in (options or ""):gmatch("[^,]+") do set(wish, option) end
	end
	return table.concat(others, " ")
end

-- Licences "rampool:200": GiB.
local function of_licences(licences, wish)
	for name, count in (licences or ""):gmatch("([^,:@]+)[^,:]*:?(%d*)") do
		if name == "rampool" then
			if wish.size then
				refuse("rampool: -L rampool:%s and size=%s both give a size: give one", count, wish.size)
			end
			set(wish, "size=" .. (count == "" and "1" or count) .. "G")
		end
	end
end

-- Slurm's licences of a job without ours, and with so many of ours.
local function with_licences(licences, ours)
	local all = {}
	for licence in (licences or ""):gmatch("[^,]+") do
		if licence:match("^[^:@]*") ~= "rampool" then all[#all + 1] = licence end
	end
	if ours then all[#all + 1] = "rampool:" .. ours end
	return table.concat(all, ",")
end

-- How many of n equal pieces hold data.
local function data_pieces(redundancy, n)
	if redundancy == "mirror" then return n / 2 end
	if redundancy == "parity" then return n - 1 end
	if redundancy == "double-parity" then return n - 2 end
	return n
end

local FEWEST = { mirror = 2, parity = 3, ["double-parity"] = 4 }

-- The most that n nodes, with equal pieces, could hold: as much as the n-th largest can lend.
local function most_of(lendable, redundancy, fewest, most)
	local best, nodes = 0, 0
	for _, some in ipairs(lendable) do
		local last = math.min(nodes + some.count, most)
		if last > nodes and last >= fewest then
			best = math.max(best, data_pieces(redundancy, last) * some.bytes)
		end
		nodes = last
	end
	return best
end

local function given(number)
	if number and number > 0 and number < M.not_given then return number end
end

-- Refuses what no choice of nodes could give. It is no promise: others may have the memory.
local function check_capacity(job, wish, profile, facts)
	local redundancy = wish.redundancy or profile.redundancy
	local fewest, most = 1, math.huge
	if profile.lend == "own" then
		fewest = given(job.min_nodes) or 1
		most = math.max(given(job.max_nodes) or math.huge, fewest)
	end
	if most < (FEWEST[redundancy] or 1) then
		refuse("rampool: redundancy=%s needs at least %d nodes: the job has %d",
			redundancy, FEWEST[redundancy], most)
	end
	local lendable = facts[profile.lend]
	if not (wish.size and lendable) then return end
	local best = most_of(lendable, redundancy, fewest, most)
	if bytes_of(wish.size) > best then
		local who = profile.lend == "own" and "the nodes of this job" or "all donors together"
		refuse("rampool: size=%s is more than %s can lend (%d MiB with redundancy=%s): "
			.. "ask for less%s", wish.size, who, math.floor(best / MIB), redundancy,
			profile.lend == "own" and ", or for more nodes" or "")
	end
end

-- Of each donor's piece: what the volume keeps of it, and what whole MiB take more.
local KEPT_OF_PIECE = 2 * MIB

-- So much of the donors' memory is counted for a pool that it never has more, on however few of
-- them it comes to lie.
local function memory_of(size, redundancy, donors)
	local fewest = FEWEST[redundancy] or 1
	return size * fewest / data_pieces(redundancy, fewest) + donors * KEPT_OF_PIECE
end

-- A job of donors outside waits for them by licences for its size, one for each GiB, or by a share
-- of the burst buffer, in MiB. A licence of ours means nothing to others, which have their own
-- nodes' memory.
local function account(job, wish, profile, facts)
	if not (facts.licences or facts.buffer) then return end
	local licences
	if profile.lend == "pool" then
		-- The hooks are told the licences too: a size of its own says that they are not it.
		wish.size = wish.size or (profile.mib .. "M")
		wish.given = true
		local memory = memory_of(bytes_of(wish.size), wish.redundancy or profile.redundancy,
			facts.donors)
		local unit = facts.licences and GIB or MIB
		local takes = math.ceil(memory / unit)
		local all = facts.licences or facts.buffer.mib
		if takes > all then
			refuse("rampool: size=%s takes up to %d %s of the donors' memory, and jobs may have %d: "
				.. "ask for less", wish.size, takes, unit == GIB and "GiB" or "MiB", all)
		end
		if facts.licences then licences = takes
		else job.burst_buffer = string.format("#RAMPOOL pool=%s capacity=%dM", M.pool, takes)
		end
	end
	if licences or job.licenses then job.licenses = with_licences(job.licenses, licences) end
end

-- Slurm starts a job that prefers a profile also without it.
local function refuse_preference(job, facts)
	for word in (job.prefer or ""):gmatch("[^&|,()%[%]!*]+") do
		if facts.profiles[word] then
			refuse("rampool: --prefer=%s gives no pool for certain: ask for it by --constraint=%s, "
				.. "or leave it out", word, word)
		end
	end
end

local function check(job, facts, wish)
	refuse_preference(job, facts)
	local profile = profile_of(job.features or "", facts.profiles)
	if not profile then
		if wish.given then
			refuse("rampool: the job gives options of a pool but asks for none: add --constraint=%s",
				facts.example or "with a profile's name")
		end
		return
	end
	if job.het_job_offset and job.het_job_offset < M.not_given then
		refuse("rampool: a heterogeneous job has no one set of nodes for a pool: "
			.. "ask for %s in a job of one component", profile)
	end
	for partition in (job.partition or ""):gmatch("[^,]+") do
		if facts.suspends[partition] then
			refuse("rampool: partition %s suspends jobs, and a suspended job would keep the memory: "
				.. "choose another partition, or leave %s out", partition, profile)
		end
	end
	check_capacity(job, wish, facts.profiles[profile], facts)
	account(job, wish, facts.profiles[profile], facts)
	return facts.profiles[profile]
end

local function given_16(number)
	if number and number > 0 and number < M.not_given_16 then return number end
end

-- How many nodes the job will have, where that is certain.
local function nodes_of(job)
	local fewest, most = given(job.min_nodes) or 1, given(job.max_nodes)
	if not most and (given(job.num_tasks) or 1) <= fewest then most = fewest end
	return most == fewest and fewest or nil
end

-- What each node of the job lends to its pool, in MiB; nil where that is not known here.
local function lent_by_each(job, wish, profile)
	if not wish.size and profile.unit == "node" then return profile.mib end
	if not wish.size and profile.unit ~= "whole" then return nil end
	local bytes = wish.size and bytes_of(wish.size) or profile.mib * MIB
	local nodes = nodes_of(job)
	if not nodes then return nil end
	local pieces = data_pieces(wish.redundancy or profile.redundancy, nodes - (profile.spares or 0))
	-- The front of each piece is the volume's own.
	return pieces > 0 and math.ceil(bytes / pieces / MIB) + 1 or nil
end

-- The partitions that the job may come to be in.
local function partitions_of(job, facts)
	return (job.partition or facts.default_partition or ""):gmatch("[^,]+")
end

-- How many CPUs the job has on each of its nodes, where all have as many.
local function cpus_of(job, facts)
	for partition in partitions_of(job, facts) do
		if facts.exclusive[partition] then return nil end
	end
	local nodes, of_task = nodes_of(job), given_16(job.cpus_per_task) or 1
	if not nodes or job.shared == 0 then return nil end
	local on_each = given_16(job.ntasks_per_node)
	local tasks = given(job.num_tasks) or nodes * (on_each or 1)
	local cpus
	if tasks <= nodes then cpus = of_task
	elseif nodes == 1 then cpus = tasks * of_task
	elseif on_each and on_each * nodes == tasks then cpus = on_each * of_task
	else return nil
	end
	return math.max(cpus, given_16(job.pn_min_cpus) or 1)
end

-- What Slurm gives a job that asks for no memory: so much of each node, or for each CPU; nothing
-- where that is its whole nodes, or depends on the partition.
local function default_of(job, facts)
	local found, first = nil, true
	for partition in partitions_of(job, facts) do
		local own = facts.defaults[partition]
		if not own then return end
		if not first and (own.unit ~= found.unit or own.mib ~= found.mib) then return end
		found, first = own, false
	end
	if not found then return end
	if found.unit == "node" then return found.mib, nil end
	return nil, found.mib
end

-- Has the job ask for what its nodes lend besides what its user asked for: Slurm then gives that
-- memory to nobody else, and the agent takes it off the job's limit again. A job that is given all
-- of its nodes' memory (--mem=0) has it already. Returns what the user should know.
local function ask_for_what_is_lent(job, facts, lent)
	-- Of --mem-per-gpu nobody knows yet how much it is.
	if job.mem_per_tres or job.min_mem_per_node == 0 or job.min_mem_per_cpu == 0 then return end
	local of_node, of_cpu = given(job.min_mem_per_node), given(job.min_mem_per_cpu)
	if not (of_node or of_cpu) then of_node, of_cpu = default_of(job, facts) end
	local more = lent + math.ceil(lent / facts.overhead_part)
	local asks
	if of_node then
		job.min_mem_per_node = of_node + more
		asks = string.format("--mem=%dM", of_node + more)
	elseif of_cpu then
		local cpus = cpus_of(job, facts)
		-- As many on every node are not certain: it gives of what it asked for.
		if not cpus then return end
		job.min_mem_per_cpu = of_cpu + math.ceil(more / cpus)
		asks = string.format("--mem-per-cpu=%dM", job.min_mem_per_cpu)
	else
		return
	end
	return string.format("rampool: each node lends %d MiB of its memory to the job's scratch: with "
		.. "that the job asks for %s", lent, asks)
end

-- The facts that can be believed, for burst_buffer.lua; nil where there are none.
function M.read_facts() return read_facts(M.facts) end

-- For burst_buffer.lua: nil, or the sentence that says what in a job's text cannot be. The line that
-- account() gave it counts memory, and is no option of a pool.
function M.check_buffer(text)
	local well, problem = pcall(function()
		local wish = {}
		for line in text:gmatch("[^\n]+") do
			if line:match("^%s*[^#%s]") then break end
			local options = line:match("^#RAMPOOL%s*(.*)$") or ""
			local mib = options:match("^pool=" .. M.pool .. " capacity=(%d+)M%s*$")
			local facts = mib and M.read_facts()
			local all = facts and facts.buffer and facts.buffer.mib
			if all and tonumber(mib) > all then
				refuse("rampool: %d MiB of the donors' memory are asked for, and jobs may have %d: "
					.. "ask for less", mib, all)
			end
			if not mib then
				for option in options:gmatch("%S+") do set(wish, option) end
			end
		end
	end)
	if well then return nil end
	return type(problem) == "table" and problem.sentence or tostring(problem)
end

-- Reads a job's wishes, refuses what cannot be, and leaves them as one word of its comment, which
-- is what Slurm hands to every hook.
local function read(job)
	local wish = {}
	of_script(job.script, wish)
	local comment = of_comment(job.comment, wish)
	of_licences(job.licenses, wish)
	local facts = read_facts(M.facts)
	local profile = facts and check(job, facts, wish)
	if wish.given then
		local options = {}
		for _, name in ipairs({ "size", "redundancy" }) do
			if wish[name] then options[#options + 1] = name .. "=" .. wish[name] end
		end
		local word = "rampool:" .. table.concat(options, ",")
		job.comment = comment == "" and word or comment .. " " .. word
	end
	if profile and profile.lend == "own" then
		local lent = lent_by_each(job, wish, profile)
		return lent and ask_for_what_is_lent(job, facts, lent)
	end
end

-- For slurm_job_submit: nil, or the sentence with which the job is refused. A mistake of this
-- script's own refuses nobody's job; it is returned second, for the log. Third is a sentence for
-- the user of a job that is accepted, where there is something to know.
function M.submit(job)
	local well, problem = pcall(read, job)
	if well then return nil, nil, problem or nil end
	if type(problem) == "table" then return problem.sentence end
	return nil, "rampool: job_submit: " .. tostring(problem)
end

return M
