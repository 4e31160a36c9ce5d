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
        (Process server, int port) = await Start();
        using Process ended = server;
        try
        {
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

    // Its monitor takes the port beside the one that is asked for, which another test may have by then.
    private static async Task<(Process Server, int Port)> Start()
    {
        for (int attempt = 1; ; attempt++)
        {
            int port = Server.FreePort();
            var start = new ProcessStartInfo(SourceTree.Of("tests", "s3-server")) { RedirectStandardInput = true, RedirectStandardOutput = true };
            start.ArgumentList.Add("run");
            start.ArgumentList.Add($"{port}");
            Process server = Process.Start(start)!;
            if (await server.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) == "ready")
                return (server, port);
            server.StandardInput.Close();
            await server.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(attempt < 3, $"the S3 server did not start in {attempt} attempts; the last one ended with {server.ExitCode}");
            server.Dispose();
        }
    }
}
