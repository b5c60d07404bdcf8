_photo-factory() {
    local i cur prev opts cmds
    COMPREPLY=()
    cur="${COMP_WORDS[COMP_CWORD]}"
    if [[ $COMP_CWORD -ge 1 ]]; then
        prev="${COMP_WORDS[COMP_CWORD-1]}"
    else
        prev=""
    fi
    cmd=""
    opts=""

    for i in ${COMP_WORDS[@]}; do
        case "${i}" in
            photo-factory | */photo-factory)
                cmd="photo-factory"
                ;;
            run)
                cmd="photo-factory_run"
                ;;
            ingest)
                cmd="photo-factory_ingest"
                ;;
            inspect)
                cmd="photo-factory_inspect"
                ;;
            status)
                cmd="photo-factory_status"
                ;;
            export)
                cmd="photo-factory_export"
                ;;
            verify)
                cmd="photo-factory_verify"
                ;;
            rebuild)
                cmd="photo-factory_rebuild"
                ;;
            doctor)
                cmd="photo-factory_doctor"
                ;;
            alert)
                cmd="photo-factory_alert"
                ;;
            password)
                cmd="photo-factory_password"
                ;;
            setup)
                cmd="photo-factory_setup"
                ;;
        esac
    done

    case "${cmd}" in
        photo-factory)
            opts="--help --root --config --verbose -v"
            cmds="run ingest inspect status export verify rebuild doctor alert password setup"
            case "${prev}" in
                --root)
                    COMPREPLY=()
                    return 0
                    ;;
                --config)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_run)
            opts="--help --listen"
            case "${prev}" in
                --listen)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_ingest)
            opts="--help --copy --dry-run --json"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_inspect)
            opts="--help --json"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_status)
            opts="--help --json --check"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_export)
            opts="--help --csv"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_verify)
            opts="--help --since --limit --repair --from --json"
            case "${prev}" in
                --since)
                    COMPREPLY=()
                    return 0
                    ;;
                --limit)
                    COMPREPLY=()
                    return 0
                    ;;
                --from)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_rebuild)
            opts="--help --json"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_doctor)
            opts="--help --json --accept-storage"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_alert)
            opts="--help --test"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_password)
            opts="--help --new --set --remove --token --no-token"
            case "${prev}" in
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
        photo-factory_setup)
            opts="--help --storage --inbox --listen --syncthing-key-file --password-stdin --new-password --yes"
            case "${prev}" in
                --storage)
                    COMPREPLY=()
                    return 0
                    ;;
                --inbox)
                    COMPREPLY=()
                    return 0
                    ;;
                --listen)
                    COMPREPLY=()
                    return 0
                    ;;
                --syncthing-key-file)
                    COMPREPLY=()
                    return 0
                    ;;
                *)
                    COMPREPLY=( $(compgen -W "${opts} ${cmds}" -- "${cur}") )
                    return 0
                    ;;
            esac
            ;;
    esac
}

complete -F _photo-factory -o bashdefault -o default photo-factory
