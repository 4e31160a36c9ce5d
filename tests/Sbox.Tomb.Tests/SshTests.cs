using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>A tomb behind a real sshd.</summary>
public sealed class SshTests
{
    [Fact]
    public async Task Through_a_real_sshd_with_a_key_everything_works_as_in_a_directory()
    {
        using var place = new Place();
        int port = Server.FreePort();
        Judge.OnPath("ssh-keygen").Run("-q", "-t", "ed25519", "-N", "", "-f", place["host key"]);
        Judge.OnPath("ssh-keygen").Run("-q", "-t", "ed25519", "-N", "", "-f", place["key"]);
        File.Copy(place["key.pub"], place["authorized"]);
        Directory.CreateDirectory("/run/sshd");
        File.WriteAllText(place["sshd_config"], $"""
            Port {port}
            ListenAddress 127.0.0.1
            HostKey "{place["host key"]}"
            AuthorizedKeysFile {place["authorized"]}
            PidFile none
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            Subsystem sftp internal-sftp
            """);
        using Process sshd = Server.Start("/usr/sbin/sshd", ["-D", "-e", "-f", place["sshd_config"]]);
        try
        {
            await Task.Delay(500, TestContext.Current.CancellationToken);
            string[] ssh = ["ssh", "-p", $"{port}", "-i", place["key"], "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"];
            await RemoteTests.RoundTrip(place, $"sftp:{Environment.UserName}@127.0.0.1:{place.TombPath}", new BackendSettings { SshCommand = ssh }, place.TombPath);
        }
        finally
        {
            sshd.Kill(entireProcessTree: true);
            await sshd.WaitForExitAsync(CancellationToken.None);
        }
    }
}
