using System.Text.RegularExpressions;
using Sbox.Judges;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What is refused, and what a refusal leaves behind: each step beside real ostree, in a directory of its own.</summary>
public sealed partial class BesideOstreeTests
{
    // A tree, and a repository with it on the branch m.
    private static readonly string[] Beginning =
    [
        "mkdir -p t/usr/share/doc t/usr/bin", "echo a >t/usr/bin/hi", "echo x >t/usr/share/doc/x", "ostree init --repo=r --mode=archive",
        "ostree commit --repo=r -b m --timestamp=@1 --tree=dir=t",
    ];

    [Theory]
    [InlineData("a commit that cannot be signed is on no branch",
        "ostree commit --repo=r -b rel --tree=dir=t --gpg-sign=NOKEY", "ostree commit --repo=r -b rel --tree=dir=t --sign=nokey 2>/dev/null", "ostree refs --repo=r")]
    [InlineData("a summary that cannot be signed leaves the old pair",
        "ostree summary --repo=r -u", "echo old >r/summary.sig", "cp r/summary s0", "ostree summary --repo=r -u --gpg-sign=NOKEY",
        "ostree summary --repo=r -u --sign=nokey 2>/dev/null", "cmp r/summary s0", "cat r/summary.sig")]
    [InlineData("every line of a skip list is a path of the tree",
        "printf 'zz\\n/usr/bin/hi\\n' >s", "ostree commit --repo=r -b k --tree=dir=t --skip-list=s", "ostree refs --repo=r",
        "echo /usr/share/doc >s", "ostree commit --repo=r -b k --timestamp=@1 --owner-uid=0 --owner-gid=0 --tree=dir=t --skip-list=s", "ostree ls --repo=r -R k",
        "ostree checkout --repo=r --skip-list=s m c1", "find c1 | sort", "echo /usr/share/doc/ >s", "ostree checkout --repo=r --skip-list=s m c2", "find c2 | sort")]
    [InlineData("a commit without subject has a body all the same, and log says where history is cut",
        "ostree commit --repo=r -b w --timestamp=@1 -m 'only body' t", "ostree show --repo=r w", "printf 'a\\nb\\n\\n' >F",
        "ostree commit --repo=r -b w --timestamp=@2 -F F t", "ostree log --repo=r w", "ostree init --repo=q --mode=archive", "ostree pull-local --repo=q r w >/dev/null",
        "ostree log --repo=q w", "ostree log --repo=q --raw w | tail -n 1")]
    [InlineData("a ref that cannot be written leaves nothing in tmp",
        "ostree refs --repo=r --create=m/sub m 2>/dev/null", "ostree commit --repo=r -b m/sub2 --tree=dir=t 2>/dev/null", "ls r/tmp", "ostree refs --repo=r")]
    [InlineData("a prefix is a ref's name, and nothing is deleted by what is none",
        "ostree refs --repo=r --create=app/one m", "ostree refs --repo=r --delete '' 2>/dev/null", "ostree refs --repo=r --delete / 2>/dev/null",
        "ostree refs --repo=r --delete app/ 2>/dev/null", "ostree refs --repo=r app/ 2>/dev/null", "ostree refs --repo=r", "ostree refs --repo=r --delete x:", "ostree refs --repo=r --delete app",
        "ostree refs --repo=r")]
    [InlineData("whether to sync is said in one word, with = or after a space",
        "for how in no yes 0 1 none TRUE False bad y; do echo \"$how\"; rm -rf z; ostree checkout --repo=r --fsync=\"$how\" m z; ls z 2>/dev/null; done",
        "rm -rf z", "ostree checkout --repo=r --fsync no m z", "ostree commit --repo=r --orphan --fsync=bad --tree=dir=t")]
    [InlineData("init asks where, and makes no parents",
        "ostree init >/dev/null 2>&1", "ls", "ostree init --repo=deep/er/x 2>/dev/null", "ls", "mkdir full", "ostree init --repo=full", "ls full")]
    [InlineData("two that contradict each other, and a parent that is no checksum, are refused",
        "ostree checkout --repo=r --union --union-add m z", "ostree checkout --repo=r --union-add --union-identical -H m z", "ostree commit --repo=r --orphan --parent=m --tree=ref=m",
        "ostree commit --repo=r -b new --keep-metadata=version --tree=dir=t", "ostree refs --repo=r")]
    [InlineData("a first commit has no parent, and paths of directories on disk have no slash before them",
        "ostree rev-parse --repo=r m^ 2>/dev/null", "ostree diff --repo=r m 2>/dev/null", "mkdir t2", "ostree diff --repo=r ./t2 ./t | sort", "ostree diff --repo=r m ./t2", "cp -R t t3; rm t3/usr/bin/hi; echo more >t3/new; ostree diff --repo=r m ./t3 | grep -v '^M'")]
    [InlineData("keys are imported from what has some",
        "ostree remote add --repo=r o http://x", "echo no >nk", "ostree remote gpg-import --repo=r o -k nk 2>/dev/null", "ostree remote gpg-import --repo=r --stdin o 2>/dev/null </dev/null",
        "ostree remote add --repo=r p http://x --gpg-import=nk 2>/dev/null")]
    public void Each_step_ends_as_with_real_ostree(string rule, params string[] steps)
    {
        string theirs = Run(string.Join(' ', Judge.Ostree.Command), steps), ours = Run($"{RunningBox.Program}/sbox store", steps);
        Assert.False(string.IsNullOrEmpty(theirs), rule);
        Assert.Equal(theirs, ours);
    }

    [Fact]
    public void Days_that_are_said_in_words_are_the_days_that_ostree_takes_them_for()
    {
        // Of a day, or of a minute far from its ends: what the clock does between the two programs makes no difference.
        string[] words =
        [
            "last monday", "monday", "next saturday", "saturday", "last fri", "sunday", "Monday next week", "20240101", "20240101 12:00", "2024-01-01 -1 day",
            "2024-01-01 2 days", "2024-01-01 1 week 2 days ago", "2024-01-01 12:30 fortnight", "2024-03-05 last month", "2024-01-01 yesterday", "TOMORROW 2024-01-01", "2024-01-01 2hours",
            "bogus", "last", "2024-02-30",
        ];
        string[] steps = [.. words.Select(static word => $"echo '{word}'; c=$(ostree commit --repo=r --orphan --tree=ref=m --timestamp='{word}') && ostree show --repo=r $c | grep Date")];
        string[] now = [.. ((string[])["now", "today", "tomorrow", "yesterday", "last week", "next week", "2 days", "this week", "week ago"]).Select(static word =>
            $"echo '{word}'; ostree prune --repo=r --no-prune --keep-younger-than='{word}' >/dev/null && echo taken; c=$(ostree commit --repo=r --orphan --tree=ref=m --timestamp='{word} 12:00'); ostree show --repo=r $c | grep Date")];
        string theirs = Run(string.Join(' ', Judge.Ostree.Command), [.. steps, .. now]), ours = Run($"{RunningBox.Program}/sbox store", [.. steps, .. now]);
        Assert.Contains("taken", theirs, StringComparison.Ordinal);
        Assert.Equal(theirs, ours);
    }

    // Each step's output and exit status. Of an error only the first line counts, without the word before it: ours says the way out below.
    private static string Run(string ostree, string[] steps)
    {
        using var temp = new TempDir();
        string script = "export TZ=UTC GNUPGHOME=\"$PWD/gnupg\"; mkdir -m 700 gnupg; umask 022\nostree() { command=$1; shift; " + ostree + " \"$command\" \"$@\"; }\n" +
            string.Concat(Beginning.Select(static step => $"{step} >/dev/null\n")) +
            string.Concat(steps.Select(static step => $"{{ {step}; }} 2>e; echo \"= $?\"; cat e\n"));
        Verdict verdict = Judge.OnPath("bash").Ask(temp.Path, null, ["-c", script]);
        return Kept(verdict.Output);
    }

    private static string Kept(string output) => string.Join('\n', output.Split('\n').Where(static line => !line.StartsWith("  ", StringComparison.Ordinal) || line.StartsWith("    ", StringComparison.Ordinal))
        .Select(static line => Prefix().Replace(line, "error: ")).Select(static line => Key().Replace(line, "$1")).Where(static line => line.Length > 0));

    [GeneratedRegex("^(?:sbox|error): ")]
    private static partial Regex Prefix();

    // What is wrong with a key is said in each program's words.
    [GeneratedRegex("^(error: ).*(?i:key).*$")]
    private static partial Regex Key();
}
