function __fish_photo-factory_using_command
    set -l cmd (commandline -xpc)
    set -e cmd[1]
    set -l target_cmd $argv

    set -l known_value_flags 'config' 'from' 'inbox' 'limit' 'listen' 'root' 'since' 'storage' 'syncthing-key-file' 

    set -l i 1
    set -l cleaned_cmd
    while test $i -le (count $cmd)
        set -l arg $cmd[$i]
        if string match -q -- "-*" $arg
            set -l pure_flag (string replace -r '^--?' '' -- $arg)
            if contains -- $pure_flag $known_value_flags
                set -l next_i (math $i + 1)
                if test $next_i -le (count $cmd)
                    if not string match -q -- "-*" $cmd[$next_i]
                        set i $next_i
                    end
                end
            end
        else
            set -a cleaned_cmd $arg
        end
        set i (math $i + 1)
    end

    set -l count_cleaned (count $cleaned_cmd)
    set -l count_target (count $target_cmd)
    
    if test $count_cleaned -ne $count_target
        return 1
    end
    
    for i in (seq $count_target)
        if test $cleaned_cmd[$i] != $target_cmd[$i]
            return 1
        end
    end
    
    return 0
end

complete -c photo-factory -n '__fish_photo-factory_using_command' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -l root -r -d 'the factory\'s root, with Photos_Inbox, Storage and Data in it (default: the installed factory, else the current folder)'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -l config -r -d 'the settings file (default: photo-factory.toml in the root, which need not exist)'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -l verbose -s v -d 'say more in the log (stderr)'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'run' -d 'Run the appliance: take the inbox and serve the page until SIGTERM or SIGINT.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'ingest' -d 'Take everything in the inbox once, and end.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'inspect' -d 'Tell what the librarian would decide about files, and why; nothing is changed.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'status' -d 'Tell how things stand: services, totals, problems.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'export' -d 'Write out the ledger: one row for every file in Originals.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'verify' -d 'Read every original again and compare it with the ledger; nothing is changed without --repair.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'rebuild' -d 'Make the ledger anew from Originals where it is lost; where it is whole, add the files it does not know.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'doctor' -d 'Look at everything that the appliance needs, and say what to do about what is not as it should be. Looking changes nothing.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'alert' -d 'Name the targets of alerts; with --test, send each a message right now, quiet hours or not.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'password' -d 'Show the page\'s password that was made at the first start, once; or make or set another.'
complete -c photo-factory -n '__fish_photo-factory_using_command' -f -a 'setup' -d 'Ask where photos, inbox and page are to be, write the settings file, make what is missing, and look at the result as doctor does. What an option answers is not asked; Enter takes what is offered.'
complete -c photo-factory -n '__fish_photo-factory_using_command run' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command run' -f -l listen -r -d 'where the page listens (default: 127.0.0.1:8380; port 0 takes a free one)'
complete -c photo-factory -n '__fish_photo-factory_using_command ingest' -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command ingest' -l copy -d 'copy from the given paths, which stay as they are'
complete -c photo-factory -n '__fish_photo-factory_using_command ingest' -l dry-run -d 'tell what would be done, and change nothing'
complete -c photo-factory -n '__fish_photo-factory_using_command ingest' -l json -d 'one JSON line for each file, and one for the summary'
complete -c photo-factory -n '__fish_photo-factory_using_command inspect' -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command inspect' -l json -d 'one JSON line for each file'
complete -c photo-factory -n '__fish_photo-factory_using_command status' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command status' -f -l json -d 'as JSON, the same as the page\'s /api/v1/status'
complete -c photo-factory -n '__fish_photo-factory_using_command status' -f -l check -d 'say nothing, and end with 0 while the appliance runs and its page answers, else with 1'
complete -c photo-factory -n '__fish_photo-factory_using_command export' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command export' -f -l csv -d 'as CSV instead of JSON lines'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l since -r -d 'only what was filed on this day (YYYY-MM-DD) or later'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l limit -r -d 'read no faster than this, in MB/s'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l repair -d 'put back what is missing or changed, from the backup that --from names'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l from -r -d 'a folder with good copies: a copy of Storage, or of its folder Originals; it is only read'
complete -c photo-factory -n '__fish_photo-factory_using_command verify' -f -l json -d 'one JSON line for each finding, and one for the summary'
complete -c photo-factory -n '__fish_photo-factory_using_command rebuild' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command rebuild' -f -l json -d 'one JSON line for each file that was added or left, and one for the summary'
complete -c photo-factory -n '__fish_photo-factory_using_command doctor' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command doctor' -f -l json -d 'one JSON object'
complete -c photo-factory -n '__fish_photo-factory_using_command doctor' -f -l accept-storage -d 'you changed the disk of Storage on purpose: use what is there now, with or without photos on it'
complete -c photo-factory -n '__fish_photo-factory_using_command alert' -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command alert' -l test -d 'send a test message'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l new -d 'make a new password and print it'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l set -d 'set one that you choose: it is read from standard input'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l remove -d 'remove it; only while the page is served to this machine alone'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l token -d 'make a token with which programs may read (Home Assistant, Prometheus), and print it'
complete -c photo-factory -n '__fish_photo-factory_using_command password' -f -l no-token -d 'remove the token'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l help -d 'display usage information'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l storage -r -d 'the folder where photos are kept'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l inbox -r -d 'the folder where photos arrive'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l listen -r -d 'the address and port of the page: 127.0.0.1:8380 is for this machine only, 0.0.0.0:8380 for the whole network'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l syncthing-key-file -r -d 'a file with Syncthing\'s API key, which is copied; `-` reads standard input; `found`: it is looked for in Syncthing\'s own settings'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l password-stdin -d 'set the page\'s password: it is read from standard input'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l new-password -d 'make a new password for the page and print it'
complete -c photo-factory -n '__fish_photo-factory_using_command setup' -f -l yes -d 'ask nothing: what no option answers stays as it is'
