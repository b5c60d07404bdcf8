#!/bin/bash
# The mutation gate: breaks the program on purpose, one promise at a time, and demands that the named test notices, and says
# what is wrong. A fault test that stays green beside a program that loses photos proves nothing; nor does one that is red
# for another reason, or without a mutant.
#
# Each mutant is an exact text and what takes its place; a text that is not found fails the gate, so that a mutant cannot
# be lost when the code changes. Works on a copy of the tree; `mutants.sh NAME...` tries only the mutants of these names.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tree=$target/mutants/tree
build=$target/mutants/build
said=$target/mutants/said.txt
wanted=("$@")
caught=0
failed=()
skipped=()
declare -A green=()

# The tests are those of the tree as it is; only the program they run differs.
tests() { # TARGET TEST
    PHOTO_FACTORY_UNDER_TEST=$build/debug/photo-factory PHOTO_FACTORY_FAULTS=few \
        cargo test --locked --quiet --test "$1" -- --exact "$2" --nocapture >"$said" 2>&1
}

prepare() {
    rm -rf "$tree" "$build"
    mkdir -p "$tree" "$build/debug/deps"
    git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$tree"
    # What is built already of other people's crates is taken over by copy: nothing that is shared is written to.
    if [ -d "$target/debug/deps" ]; then
        cp -a "$target/debug/build" "$target/debug/.fingerprint" "$build/debug/"
        rm -rf "$build"/debug/.fingerprint/photo-factory*
        find "$target/debug/deps" -maxdepth 1 \( -name '*.rlib' -o -name '*.rmeta' -o -name '*.so' -o -name '*.d' \) \
            ! -name '*photo*' -exec cp -a -t "$build/debug/deps" {} +
    fi
}

make_program() {
    CARGO_TARGET_DIR=$build cargo build --locked --quiet --manifest-path "$tree/Cargo.toml" --bin photo-factory 2>"$said" ||
        { cat "$said" >&2; return 1; }
}

is_wanted() {
    [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $1 "* ]]
}

# Green without a mutant, or red would mean nothing. A test that can't be run here notices nothing.
is_green() { # TEST-TARGET TEST
    if [ -z "${green[$2]:-}" ]; then
        if ! tests "$1" "$2" || ! grep -q '^test result: ok. 1 passed' "$said"; then
            cat "$said" >&2
            echo "$2 is not green without a mutant" >&2
            exit 1
        fi
        green[$2]=yes
        if grep -q '^skipped: ' "$said"; then
            green[$2]=skipped
        fi
    fi
}

# mutant NAME TEST-TARGET TEST SAYS FILE FROM TO [FROM TO...]
#
# SAYS is an extended regular expression: what the test says of this mutant, and of no other failure.
mutant() {
    local name=$1 test_target=$2 test=$3 says=$4 file=$5 text
    shift 5
    is_wanted "$name" || return 0
    if [ "$step" = baseline ]; then
        is_green "$test_target" "$test"
        return
    fi
    if [ "${green[$test]}" = skipped ]; then
        skipped+=("$name (by $test)")
        return
    fi
    text=$(<"$file")
    while [ $# -gt 0 ]; do
        if [[ $text != *"$1"* ]]; then
            echo "$name: this text is no longer in $file, name another: $1" >&2
            failed+=("$name (text not found)")
            return
        fi
        text=${text//"$1"/"$2"}
        shift 2
    done
    printf '%s\n' "$text" >"$tree/$file"
    if ! make_program; then
        failed+=("$name (does not compile)")
    elif tests "$test_target" "$test"; then
        failed+=("$name (not noticed by $test)")
        cat "$said" >&2
    elif ! grep -q '^test result: FAILED. 0 passed; 1 failed' "$said"; then
        failed+=("$name ($test was not run)")
        cat "$said" >&2
    elif ! grep -Eq -- "$says" "$said"; then
        failed+=("$name ($test fails for another reason than: $says)")
        cat "$said" >&2
    else
        caught=$((caught + 1))
        echo "caught: $name, by $test"
    fi
    cp -p "$file" "$tree/$file"
    touch "$tree/$file"
}

run=a_power_cut_at_any_moment_of_a_run_loses_no_photo
lost='power cut, .* [1-9][0-9]* lost,'
unrecovered='power cut, .* 0 lost, [1-9][0-9]* unrecovered'

mutants() {
    mutant fsync-faked power_cut $run "$lost" src/disk/vault.rs \
        'rustix::fs::fsync(file)' 'Ok::<(), Errno>(())' \
        'rustix::fs::fsync(&file)' 'Ok::<(), Errno>(())' \
        'rustix::fs::fsync(&copy)' 'Ok::<(), Errno>(())'

    mutant folder-fsync-removed power_cut $run "$lost" src/disk/vault.rs \
        'rustix::fs::fsync(&folder)' 'Ok::<(), Errno>(())'

    mutant inbox-cleared-before-commit power_cut \
        an_inbox_name_goes_only_after_the_ledger_s_commit_that_follows_the_placing \
        'the inbox name went before the ledger had the photo' src/librarian/journey.rs \
        '    clear(line, one, kept, &mut asset).await;
    Fate::Filed(' '    Fate::Filed(' \
        '    match finish(line, one, &mut kept, ' '    clear(line, one, kept.clone(), &mut asset).await;
    match finish(line, one, &mut kept, '

    mutant no-sync-after-the-rename power_cut a_power_cut_on_a_fat_disk_loses_no_photo "$lost" src/disk/vault.rs \
        '            rustix::fs::fsync(&file).map_err(|errno| {' '            Ok::<(), Errno>(()).map_err(|errno| {'

    mutant ledger-not-durable power_cut $run "$unrecovered" src/ledger/store.rs \
        'txn.set_durability(Durability::Immediate)?;' 'txn.set_durability(Durability::None)?;'

    mutant journal-not-durable power_cut a_power_cut_while_the_ledger_is_down_loses_no_photo \
        "$unrecovered" src/ledger/journal/file.rs \
        'file.write_all_at(&pending, self.length)?;
            file.sync_all()?;' 'file.write_all_at(&pending, self.length)?;'

    mutant aside-not-restored power_cut $run "$unrecovered" src/librarian/inbox.rs \
        'put_right(line, &folder.join(&entry.name))' 'Ok::<(), DiskError>(())'

    mutant duplicate-not-compared appliance \
        lying_ledger::p2_an_original_with_one_flipped_bit_keeps_the_photo_in_the_inbox \
        '"duplicates":1' src/disk/compare.rs \
        '        if !self.has_hash(&file, asset)? {
            return Ok(Compared::Different);' '        if false {
            return Ok(Compared::Different);'

    mutant copy-not-read-back appliance \
        last_moment::p1_a_copy_that_is_not_what_was_read_is_no_proof_and_the_photo_stays \
        'the photo is lost' src/disk/vault.rs \
        'let whole = self.has_hash(&file, asset)?;' 'let whole = true;'

    mutant name-overwritten appliance \
        last_moment::p3_a_file_that_takes_the_name_at_the_last_moment_is_left_as_it_is \
        "the stranger's file was overwritten" src/disk/rename.rs \
        'renameat_with(folder, ours, folder, name, RenameFlags::NOREPLACE)' \
        'renameat_with(folder, ours, folder, name, RenameFlags::empty())'

    mutant marker-not-checked appliance storage::p7_a_swapped_disk_is_not_written_to_until_its_owner_accepts_it \
        '1 filed, 0 duplicates, 0 stay in the inbox' src/disk/storage.rs \
        '(Mark::Is(expected), found) => Err(self.is_another(expected, found)),' \
        '(Mark::Is(expected), _) => Ok(expected),'

    mutant taken-while-growing appliance promises::p4_a_file_that_has_not_come_to_rest_is_not_taken \
        'half a photo was filed' src/librarian/settle.rs \
        'self.since + settle' 'self.since + settle * 0'

    mutant reserve-ignored appliance storage::a_disk_with_less_room_than_is_kept_free_gets_nothing \
        'what is kept free was used' src/disk/space.rs \
        'let needed = self.reserve.saturating_add(promised)' 'let needed = promised'
}

prepare
make_program
for step in baseline mutation; do
    mutants
done

echo
if [ ${#skipped[@]} -gt 0 ]; then
    printf 'skipped: the mutant %s, which can not be run here\n' "${skipped[@]}"
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'mutants: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "mutants: $caught made, $caught caught"
