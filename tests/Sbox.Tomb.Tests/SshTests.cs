namespace Sbox.Tomb.Tests;

/// <summary>A tomb behind a real sshd.</summary>
public sealed class SshTests
{
    [Fact]
    public async Task Through_a_real_sshd_with_a_key_everything_works_as_in_a_directory()
    {
        using var place = new Place();
        using var server = new SshServer(place);
        await RemoteTests.RoundTrip(place, $"sftp:{Environment.UserName}@127.0.0.1:{place.TombPath}", new BackendSettings { SshCommand = server.Words }, place.TombPath);
    }
}
