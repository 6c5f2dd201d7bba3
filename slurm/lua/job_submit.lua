-- /etc/slurm/job_submit.lua for a site that has none. A site with its own calls rampool.submit
-- in it, as this does.

local rampool = dofile("/usr/share/rampool/slurm/rampool.lua")

function slurm_job_submit(job_desc, part_list, submit_uid)
	local refusal, mistake, notice = rampool.submit(job_desc)
	if mistake then slurm.log_error("%s", mistake) end
	if refusal then
		slurm.log_user("%s", refusal)
		return slurm.ERROR
	end
	if notice then slurm.log_user("%s", notice) end
	return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
	return slurm.SUCCESS
end

return slurm.SUCCESS
