-- /etc/slurm/burst_buffer.lua: jobs wait for the memory of donors outside of them as for a burst
-- buffer, and have it reserved before they have their nodes. For Lua 5.1, without any module.
--
-- job_process, pools and paths run inside slurmctld, under its locks: they ask nobody and read one
-- small file. The others run in a process of their own, which Slurm kills with its children.

local rampool = dofile("/usr/share/rampool/slurm/rampool.lua")

local MIB = 1048576

-- Runs a hook of rampool's: well, or with what it said, which Slurm shows in SystemComment.
local function hook(name, job)
	-- Slurm's own number: nothing else comes to a shell.
	if not tostring(job):match("^%d+$") then
		return slurm.ERROR, "rampool: " .. name .. ": not a number: " .. tostring(job)
	end
	-- Lua 5.1 does not tell how such a program ends.
	local run = io.popen("/usr/bin/rampool slurm " .. name .. " " .. job .. " 2>&1; echo $?")
	local said = {}
	for line in run:lines() do said[#said + 1] = line end
	run:close()
	if table.remove(said) == "0" then return slurm.SUCCESS, "" end
	return slurm.ERROR, table.concat(said, " ")
end

-- A stage in which nothing is to be done: rampool's other hooks do it.
local function nothing() return slurm.SUCCESS, "" end

-- Whether a job may wait for its buffer: one of more than there is would do so for ever.
function slurm_bb_job_process(script)
	local file = io.open(script)
	if not file then return slurm.SUCCESS, "" end
	local text = file:read("*a")
	file:close()
	local refusal = rampool.check_buffer(text)
	if refusal then return slurm.ERROR, refusal end
	return slurm.SUCCESS, ""
end

-- How much there is, and how much of it nobody has: neither jobs nor admins. Without facts that can
-- be believed no job begins. Slurm keeps the last `free` that it was told: it is always told.
function slurm_bb_pools()
	local facts = rampool.read_facts()
	local buffer = facts and facts.buffer or { mib = 0, free_mib = 0 }
	return slurm.SUCCESS, string.format(
		'{"pools":[{"id":"%s","granularity":%d,"quantity":%d,"free":%d}]}',
		rampool.pool, MIB, buffer.mib, math.min(buffer.free_mib, buffer.mib))
end

-- The job waits for its nodes, and its memory is taken.
function slurm_bb_setup(job) return hook("bb-setup", job) end

-- The job is over, or waits no more: its share is free when its memory is.
function slurm_bb_job_teardown(job) return hook("bb-teardown", job) end

slurm_bb_data_in = nothing
slurm_bb_test_data_in = nothing
slurm_bb_real_size = nothing
slurm_bb_paths = nothing
slurm_bb_pre_run = nothing
slurm_bb_post_run = nothing
slurm_bb_data_out = nothing
slurm_bb_test_data_out = nothing

function slurm_bb_get_status()
	return slurm.SUCCESS, "rampool list --job shows the jobs that wait for memory, and why\n"
end

return slurm.SUCCESS
