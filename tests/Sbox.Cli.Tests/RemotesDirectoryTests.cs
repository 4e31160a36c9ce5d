using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>Remotes in <c>/etc/ostree/remotes.d</c> of a machine, each step beside real ostree in a root directory of its own.</summary>
public sealed class RemotesDirectoryTests
{
    [Theory]
    [InlineData("new ones go there, and each is changed where it is",
        "ostree remote add one http://one/ main", "ostree config set core.add-remotes-config-dir false", "ostree remote add two http://two/",
        "ostree remote add --force one http://other/", "ostree config unset core.add-remotes-config-dir", "ostree remote add --force two http://three/",
        "ostree remote add one http://x/", "ostree remote add --if-not-exists one http://x/", "ostree remote list -u", "ostree remote show-url one",
        "ostree remote delete one", "ostree remote delete two", "ostree remote delete one", "ostree remote delete --if-exists one", "ostree remote list")]
    [InlineData("only files that end in .conf count, and links to some",
        "put a.conf http://a/ a", "put b.txt http://b/ b", "mkdir -p /etc/ostree/remotes.d/c.conf", "ln -s /nowhere /etc/ostree/remotes.d/d.conf",
        "put ../e http://e/ e", "ln -s ../e /etc/ostree/remotes.d/e.conf", "ostree remote list -u", "ostree remote delete e", "ostree remote list -u")]
    [InlineData("it belongs to the machine's own repository, by whatever path",
        "put a.conf http://a/ a", "ostree --repo=/ostree/repo remote list", "ostree --repo=/sysroot/ostree/repo remote list", "ostree --repo=/other init",
        "ostree --repo=/other remote list", "ostree --repo=/other remote add b http://b/", "ostree --repo=/other config set core.parent /ostree/repo",
        "ostree --repo=/other remote list -u", "ostree --repo=/other remote delete a", "ostree remote list")]
    [InlineData("a sysroot that is named has its own, unless it is a physical one",
        "mkdir -p /mnt/box/etc /mnt/box/sysroot/boot /mnt/box/sysroot/ostree/deploy", "ostree --repo=/mnt/box/sysroot/ostree/repo init --mode=bare", "ln -s sysroot/ostree /mnt/box/ostree",
        "ostree remote add --sysroot=/mnt/box a http://a/", "ostree remote add --sysroot=/mnt/box/sysroot b http://b/", "ostree remote add --sysroot=/mnt/box a http://c/",
        "ostree remote delete --sysroot=/mnt/box b", "ostree remote delete --sysroot=/mnt/box/sysroot a", "ostree remote add --sysroot=/ c http://c/",
        "ostree remote add --sysroot=/sysroot d http://d/", "ostree remote list -u",
        "mkdir /sysroot/ostree/deploy", "ostree remote add --sysroot=/ c http://c/", "ostree remote add --sysroot=/sysroot d http://d/", "ostree remote list -u")]
    [InlineData("other settings in such a file are nobody's, and a name that is none makes no file",
        "put a.conf http://a/ a core", "ostree config get core.mode", "ostree remote list -u", "ostree remote add q/r http://q/", "ostree remote add ../q http://q/",
        "touch /etc/ostree/remotes.d/w.conf", "ostree remote add w http://w/", "ostree remote list -u")]
    public void What_is_in_remotes_d_is_what_ostree_takes_it_for(string rule, params string[] steps)
    {
        string theirs = Run(string.Join(' ', Judge.Ostree.Command), steps), ours = Run($"{RunningBox.Program}/sbox store", steps);
        Assert.False(string.IsNullOrEmpty(theirs), rule);
        Assert.Equal(WithoutBlankLines(theirs), WithoutBlankLines(ours));
    }

    // Those are where either program leaves them.
    private static string WithoutBlankLines(string text) => text.Replace("\n\n", "\n", StringComparison.Ordinal);

    [Fact]
    public void What_contradicts_itself_is_named_with_both_files_and_hinders_nothing_that_needs_no_remote()
    {
        using var temp = new TempDir();
        Repository.Create(temp.Of("repo"), RepositoryMode.Archive).Dispose();
        Directory.CreateDirectory(temp.Of("remotes.d"));
        File.WriteAllText(temp.Of("remotes.d/a.conf"), "[remote \"x\"]\nurl=http://a/\n");
        File.WriteAllText(temp.Of("remotes.d/b.conf"), "[remote \"x\"]\nurl=http://b/\n");
        using (Repository repository = Repository.Open(temp.Of("repo"), temp.Of("remotes.d")))
        {
            Assert.Empty(repository.Refs());
            var twice = Assert.Throws<RemotesException>(() => repository.RemoteNames());
            Assert.Equal(temp.Of("remotes.d/b.conf"), twice.Path);
            Assert.Contains(temp.Of("remotes.d/a.conf"), twice.Message, StringComparison.Ordinal);
        }

        File.WriteAllText(temp.Of("remotes.d/b.conf"), "garbage\n");
        using Repository again = Repository.Open(temp.Of("repo"), temp.Of("remotes.d"));
        Assert.Contains("line 1", Assert.Throws<RemotesException>(() => again.Remote("x")).Finding, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_with_several_remotes_keeps_the_others_when_one_is_deleted()
    {
        using var temp = new TempDir();
        Repository.Create(temp.Of("repo"), RepositoryMode.Archive).Dispose();
        Directory.CreateDirectory(temp.Of("remotes.d"));
        File.WriteAllText(temp.Of("remotes.d/both.conf"), "# ours\n[remote \"x\"]\nurl=http://x/\n[remote \"y\"]\nurl=http://y/\n");
        using Repository repository = Repository.Open(temp.Of("repo"), temp.Of("remotes.d"));
        repository.DeleteRemote("x");
        Assert.Equal(["y"], repository.RemoteNames());
        Assert.Equal("# ours\n\n[remote \"y\"]\nurl=http://y/\n", File.ReadAllText(temp.Of("remotes.d/both.conf")));
        repository.DeleteRemote("y");
        Assert.Empty(Directory.EnumerateFiles(temp.Of("remotes.d")));
    }

    // What each step printed and answered, and what lies there afterwards.
    private static string Run(string program, string[] steps)
    {
        using var temp = new TempDir();
        string script = string.Join('\n', steps.Select(static step => $"echo '$ {step}'; {step} 2>/dev/null; echo \"answer $?\""));
        File.WriteAllText(temp.Of("script"), script);
        Verdict verdict = Judge.OnPath("unshare").Ask("--mount", "bash", "-c", Machine, "bash", temp.Path, program);
        return verdict.ExitCode == 0 ? verdict.Output : throw new InvalidOperationException($"{verdict.ExitCode}\n{verdict.Output}{verdict.Error}");
    }

    private const string Machine = """
        set -e
        dir=$1 program=$2
        mkdir -p $dir/machine; mount -t tmpfs tmpfs $dir/machine; cd $dir/machine
        for top in /*; do
          case $top in /sysroot|/ostree|/boot|/etc|/mnt|/other) continue ;; esac
          if [ -L $top ]; then cp -P $top .$top
          elif [ -d $top ]; then mkdir .$top; mount --rbind $top .$top; fi
        done
        mkdir -p sysroot etc/ostree/remotes.d mnt old; cp -r /etc/ssl /etc/ld.so.cache etc/; ln -s sysroot/ostree ostree
        pivot_root . old; umount --lazy old; cd /
        ostree() { $program "$@"; }
        put() { printf '[remote "%s"]\nurl=%s\n' "$3" "$2" > "/etc/ostree/remotes.d/$1"; [ -z "$4" ] || printf '[core]\nmode=archive\n' >> "/etc/ostree/remotes.d/$1"; }
        mkdir -p /sysroot/ostree; ostree --repo=/sysroot/ostree/repo init --mode=bare
        set +e
        . $dir/script
        find /etc/ostree /mnt /sysroot/ostree/repo/config /other/config -name repo -prune -o -type f -print 2>/dev/null | sort | while read -r file; do echo "== $file"; cat "$file"; done
        cat /mnt/box/ostree/repo/config 2>/dev/null
        exit 0
        """;
}
