#!/usr/bin/perl
# Writes the licences of all crates that are linked into the program: third-party.pl TARGET-TRIPLE > FILE
use strict;
use warnings;
use JSON::PP;

my $triple = shift or die "which target? third-party.pl TARGET-TRIPLE\n";
my $cargo  = $ENV{CARGO} // 'cargo';
open my $pipe, '-|', $cargo, qw(metadata --format-version 1 --locked --filter-platform), $triple
  or die "$cargo: $!\n";
# Names are passed on as the bytes they are.
my $metadata = JSON::PP->new->decode(do { local $/; <$pipe> });
close $pipe or die "$cargo metadata failed\n";

my %package = map { $_->{id} => $_ } @{ $metadata->{packages} };
my %node    = map { $_->{id} => $_ } @{ $metadata->{resolve}{nodes} };

# What is linked: normal dependencies of ours, and theirs. Macros are run by the compiler, but what they write is linked.
my %linked;
my @open = @{ $metadata->{workspace_members} };
while (defined(my $id = shift @open)) {
    next if $linked{$id}++;
    for my $dependency (@{ $node{$id}{deps} }) {
        push @open, $dependency->{pkg} if grep { !defined $_->{kind} } @{ $dependency->{dep_kinds} };
    }
}
delete @linked{ @{ $metadata->{workspace_members} } };
die "no crate is linked: cargo's answer was not understood\n" unless %linked;

sub file_text {
    my $file = shift;
    open my $handle, '<', $file or die "$file: $!\n";
    my $text = do { local $/; <$handle> };
    $text =~ s/\r//g;
    $text =~ s/\s+\z//;
    return $text;
}

# The same text of the same licence stands once, with all who use it.
my %users;
for my $crate (sort { $a->{name} cmp $b->{name} || $a->{version} cmp $b->{version} } @package{ keys %linked }) {
    my $title = "$crate->{name} $crate->{version} (" . ($crate->{license} // 'see below') . ')';
    my $folder = $crate->{manifest_path} =~ s,/Cargo\.toml\z,,r;
    opendir my $names, $folder or die "$folder: $!\n";
    my @files = grep { /^(licen[sc]e|copying|copyright|notice|unlicense)/i && -f "$folder/$_" } sort readdir $names;
    closedir $names;
    print "$title\n";
    print '    by ', join(', ', @{ $crate->{authors} }), "\n" if @{ $crate->{authors} };
    print "    $crate->{repository}\n" if defined $crate->{repository};
    push @{ $users{ file_text("$folder/$_") } }, "$crate->{name} $crate->{version}" for @files;
}
print "\n", scalar(keys %linked), " crates\n";
for my $text (sort { $users{$a}[0] cmp $users{$b}[0] || $a cmp $b } keys %users) {
    my %once = map { $_ => 1 } @{ $users{$text} };
    print "\n", '=' x 78, "\n", join(', ', sort keys %once), "\n", '-' x 78, "\n\n$text\n";
}
