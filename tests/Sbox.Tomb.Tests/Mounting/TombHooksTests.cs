using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class TombHooksTests
{
    [Fact]
    public void Two_columns_are_read_and_the_rest_is_comment() => Assert.Equal(
        [new BindHook("mail", "Mail"), new BindHook("a/b", ".config/x")],
        TombHooks.Parse("# comment\n\nmail\tMail\n a/b   .config/x  \nlonely\n"));

    [Fact]
    public async Task Binds_are_seen_in_the_home_while_it_is_open_and_the_program_runs_as_the_owner()
    {
        using var place = new Place();
        place.Restic("init");
        // No account has this number: its home is the tomb itself.
        Directory.CreateDirectory(place["mounted"]);
        Listing.Sh(place.Path, "chmod 755 .; chown 54321:54321 mounted");
        await using (OpenTomb first = await OpenTomb.Of(place))
        {
            Assert.Empty(first.Sh("""
                set -e
                mkdir -p mail Mail deep/in .config; echo letter > mail/1; echo one > file; : > .config/other; ln -s /etc way
                printf 'mail Mail\nfile .config/other\nabsent Mail\nmail way\nmail ../outside\n' > bind-hooks
                printf '#!/bin/sh\necho "$1 $2 $(id -u) $HOME" >> "$2/said"\n' > exec-hooks; chmod 755 exec-hooks
                chown -hR 54321:54321 .
                """));
            await first.Close();
        }

        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Equal(["letter", "one"], open.Sh("cat Mail/1 .config/other"));
        Assert.Equal([$"close {open.Path} 54321 {open.Path}", $"open {open.Path} 54321 {open.Path}"], open.Sh("cat said")); // the closing's own words were saved too
        Assert.Equal(
            [true, true, false, false, false, true],
            open.Session.HookReports.Select(static report => report.Finding is null));
        Assert.DoesNotContain(MountTable.Read(), static mount => mount.MountPoint.StartsWith("/etc", StringComparison.Ordinal));
        await open.Close();
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
        await using OpenTomb later = await OpenTomb.Of(place, static options => options with { Hooks = false });
        Assert.Equal($"close {open.Path} 54321 {open.Path}", later.Sh("cat said")[^1]);
    }
}
