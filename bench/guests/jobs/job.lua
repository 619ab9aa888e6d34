-- SPDX-License-Identifier: MIT
-- Code that a compiler makes while it runs: numbers, tables, strings.
local function mandelbrot(n)
	local inside = 0
	for y = 0, n - 1 do
		for x = 0, n - 1 do
			local cr, ci, zr, zi, i = 2 * x / n - 1.5, 2 * y / n - 1, 0, 0, 0
			while i < 50 and zr * zr + zi * zi < 4 do
				zr, zi, i = zr * zr - zi * zi + cr, 2 * zr * zi + ci, i + 1
			end
			if i == 50 then inside = inside + 1 end
		end
	end
	return inside
end

local function tables(n)
	local t, sum = {}, 0
	for i = 1, n do t[i % 1000 + 1] = (t[i % 1000 + 1] or 0) + i end
	for _, v in pairs(t) do sum = sum + v end
	return sum
end

local function strings(n)
	local parts = {}
	for i = 1, n do parts[#parts + 1] = ("%d:%x"):format(i, i * 7) end
	return #table.concat(parts, ",")
end

print(mandelbrot(400), tables(5000000), strings(100000))
