using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>A tomb in a real S3 store: Ceph's.</summary>
public sealed class S3Tests
{
    [Fact, Trait("Category", "Slow")]
    public async Task In_a_bucket_everything_works_as_in_a_directory_and_restic_agrees()
    {
        using var place = new Place();
        int port = Server.FreePort();
        var start = new ProcessStartInfo(SourceTree.Of("tests", "s3-server")) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add("run");
        start.ArgumentList.Add($"{port}");
        using Process server = Process.Start(start)!;
        try
        {
            Assert.Equal("ready", await server.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
            File.WriteAllText(place["credentials"], "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secretsecret\n");
            Environment.SetEnvironmentVariable("AWS_SHARED_CREDENTIALS_FILE", place["credentials"]); // for restic
            string url = $"s3:http://127.0.0.1:{port}/bucket/tomb";
            await RemoteTests.RoundTrip(place, url, new BackendSettings { S3CredentialsFile = place["credentials"] }, url);
        }
        finally
        {
            server.StandardInput.Close();
            if (!server.WaitForExit(10_000))
                server.Kill(entireProcessTree: true);
        }
    }
}
