# SPDX-License-Identifier: MIT
# bash's completion of userkvm(1). Options are what the command's own help says they are.
_userkvm_options()
{
	userkvm ${1:+"$1"} --help 2>/dev/null | grep -oE '^ +(-[^-, ], )?--[a-z-]+' | grep -oE -- '--[a-z-]+'
}

# Processes that have a VM.
_userkvm_pids()
{
	userkvm stat --json 2>/dev/null | grep -oE '"pid": *[0-9]+' | grep -oE '[0-9]+'
}

_userkvm()
{
	local cur prev words cword command= i
	_init_completion -s || return
	for ((i = 1; i < cword; i++)); do
		case ${words[i]} in
		-*) ;;
		*)
			command=${words[i]}
			break
			;;
		esac
	done
	if [[ $command == run || $command == trace ]] && ((cword > i)); then
		# What follows the program's name is the program's to complete.
		for ((i++; i < cword; i++)); do
			if [[ ${words[i]} != -* && ${words[i - 1]} != -[peo] ]]; then
				_command_offset "$i"
				return
			fi
		done
	fi
	case $command,$prev in
	run,--engine)
		COMPREPLY=($(compgen -W 'auto interpreter translator check' -- "$cur"))
		return
		;;
	run,--intercept)
		COMPREPLY=($(compgen -W 'auto preload syscalls' -- "$cur"))
		return
		;;
	enable,--service)
		COMPREPLY=($(compgen -W "$(systemctl list-unit-files --type=service --no-legend 2>/dev/null |
			sed 's/ .*//')" -- "$cur"))
		return
		;;
	enable,--root | disable,--root)
		COMPREPLY=($(compgen -d -- "$cur"))
		return
		;;
	trace,-e | trace,--event)
		COMPREPLY=($(compgen -P "${cur%"${cur##*[,!]}"}" -W "$(userkvm trace --list 2>/dev/null)" -- "${cur##*[,!]}"))
		return
		;;
	trace,-o | trace,--output | trace,--kallsyms)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	trace,-p | trace,--pid)
		COMPREPLY=($(compgen -W "$(_userkvm_pids)" -- "$cur"))
		return
		;;
	explore,--scenario)
		COMPREPLY=($(compgen -W "$(userkvm explore --list 2>/dev/null | sed -nE 's/^([a-z0-9-]+).*/\1/p')" \
			-- "$cur"))
		return
		;;
	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$(_userkvm_options "$command")" -- "$cur"))
	elif [[ -z $command ]]; then
		COMPREPLY=($(compgen -W 'run doctor stat trace why walk map explore enable disable status' -- "$cur"))
	elif [[ $command == run || $command == doctor || $command == trace ]]; then
		COMPREPLY=($(compgen -c -- "$cur"))
	elif [[ $command == stat || $command == why || $command == walk || $command == map ]]; then
		COMPREPLY=($(compgen -W "$(_userkvm_pids)" -- "$cur"))
	fi
} && complete -F _userkvm userkvm
