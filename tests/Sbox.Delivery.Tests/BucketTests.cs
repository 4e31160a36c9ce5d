using System.Diagnostics;
using System.Net.Http.Headers;
using Amazon.S3;
using Amazon.S3.Model;
using Sbox.Buckets;
using Sbox.Judges;
using Sbox.Store;
using Checksum = Sbox.Codecs.Checksum;

namespace Sbox.Delivery.Tests;

/// <summary>A repository in a bucket of a real S3 store, Ceph's, from which real ostree pulls by HTTP.</summary>
public sealed class BucketTests
{
    [Fact, Trait("Category", "Slow")]
    public async Task In_a_bucket_everything_works_as_in_a_directory_and_caches_are_told_what_stays()
    {
        using var shop = new Workshop(RepositoryMode.Bare);
        (Process server, int port) = await Start();
        using Process ended = server;
        try
        {
            var address = S3Address.Parse($"s3:http://127.0.0.1:{port}/boxes/repo");
            var credentials = new S3Credentials("AKIATEST", "secretsecret");
            await MakeReadable(address, credentials);
            Checksum first = shop.Commit(files: 50);
            await using BucketPlace place = Place(address, credentials, "one");
            PublishReport report = await new Publisher(shop.Repository, place, shop.Signed()).Run(cancel: TestContext.Current.CancellationToken);
            Assert.True(report.Files > 60);
            string url = $"http://127.0.0.1:{port}/boxes/repo", reader = shop.NewReader(url, "reader");
            Assert.Equal(first, Workshop.Pull(reader));
            using var client = new HttpClient();
            Assert.Contains("immutable", await CacheControl(client, $"{url}/objects/{new ObjectName(first, ObjectType.Commit).LoosePath(RepositoryMode.Archive)}"), StringComparison.Ordinal);
            Assert.Contains("max-age=0", await CacheControl(client, $"{url}/summary"), StringComparison.Ordinal);

            await InterruptedAndResumed(shop, address, credentials, reader);
            Assert.Equal(0, (await new Publisher(shop.Repository, place, shop.Signed()).Run(cancel: TestContext.Current.CancellationToken)).Files);
            await Locked(address, credentials, place);
            await Killed(shop, address, credentials, reader);
        }
        finally
        {
            server.StandardInput.Close();
            if (!server.WaitForExit(10_000))
                server.Kill(entireProcessTree: true);
        }
    }

    // A reader finds the old version; and what was sent is not sent again.
    private static async Task InterruptedAndResumed(Workshop shop, S3Address address, S3Credentials credentials, string reader)
    {
        Checksum old = Workshop.Pull(reader), @new = shop.Commit(files: 50);
        await using BucketPlace place = Place(address, credentials, "one");
        var publisher = new Publisher(shop.Repository, place, shop.Signed());
        using var stop = new CancellationTokenSource();
        var cut = new Cut(stop, after: 20);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => publisher.Run(cut, stop.Token));
        Assert.Equal(old, Workshop.Pull(reader));
        PublishPlan rest = await publisher.Plan(TestContext.Current.CancellationToken);
        Assert.InRange(rest.Objects.Count, 1, 40);
        await publisher.Run(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(@new, Workshop.Pull(reader, "--require-static-deltas"));
    }

    private static async Task Locked(S3Address address, S3Credentials credentials, BucketPlace place)
    {
        await using BucketPlace other = Place(address, credentials, "two");
        await using (await place.Open(TestContext.Current.CancellationToken))
        {
            await Assert.ThrowsAsync<PlaceBusyException>(() => other.Open(TestContext.Current.CancellationToken));
            await using BucketPlace again = Place(address, credentials, "one");
            await using IAsyncDisposable own = await again.Open(TestContext.Current.CancellationToken);
        }

        await using IAsyncDisposable free = await other.Open(TestContext.Current.CancellationToken);
    }

    // The program itself, ended when some of its objects are there: the reader has a version that was published whole, and the next run goes on as the same publisher.
    private static async Task Killed(Workshop shop, S3Address address, S3Credentials credentials, string reader)
    {
        File.WriteAllText(shop["credentials"], $"[default]\naws_access_key_id = {credentials.AccessKey}\naws_secret_access_key = {credentials.SecretKey}\n");
        using AmazonS3Client client = address.Connect(credentials);
        string[] arguments = ["publish", "--repo", shop["repo"], "--to", $"{address}", "--s3-credentials-file", shop["credentials"], "--sign-from-file", shop["secret"]];
        var versions = new List<Checksum> { Workshop.Pull(reader) };
        int kills = 0;
        for (int round = 1; kills == 0; round++)
        {
            Assert.True(round <= 10, "each publication had ended before it was killed");
            versions.Add(shop.Commit(files: 25));
            int wanted = await Objects(client, address) + Random.Shared.Next(1, 20);
            using Process publishing = Process.Start(new ProcessStartInfo(TestedProgram.Sbox, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            Task<string> told = publishing.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            while (!publishing.HasExited && await Objects(client, address) < wanted)
                await Task.Delay(5, TestContext.Current.CancellationToken);
            publishing.Kill();
            await publishing.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(publishing.ExitCode is 0 or 128 + 9, await told);
            kills += publishing.ExitCode == 0 ? 0 : 1;
            Assert.Contains(Workshop.Pull(reader), publishing.ExitCode == 0 ? versions[^1..] : versions[^2..]); // its summary may have been there already
            if (publishing.ExitCode != 0)
                Judge.OnPath(TestedProgram.Sbox).Run(arguments);
            Assert.Equal(versions[^1], Workshop.Pull(reader));
        }
    }

    private static async Task<int> Objects(AmazonS3Client client, S3Address address)
    {
        int count = 0;
        await foreach (S3Object _ in client.Paginators.ListObjectsV2(new ListObjectsV2Request { BucketName = address.Bucket, Prefix = "repo/objects/" }).S3Objects)
            count++;
        return count;
    }

    private static BucketPlace Place(S3Address address, S3Credentials credentials, string publisher) =>
        new(address, credentials, publisher, TimeProvider.System) { Staleness = TimeSpan.Zero };

    private static async Task<string> CacheControl(HttpClient client, string url)
    {
        using HttpResponseMessage answer = await client.GetAsync(url);
        CacheControlHeaderValue? said = answer.EnsureSuccessStatusCode().Headers.CacheControl;
        return $"{said} {string.Join(' ', said?.Extensions.Select(static each => each.Name) ?? [])}";
    }

    // What its owner does once: the bucket, and everybody's right to read it.
    private static async Task MakeReadable(S3Address address, S3Credentials credentials)
    {
        using AmazonS3Client client = address.Connect(credentials);
        await client.PutBucketAsync(address.Bucket);
        await client.PutBucketPolicyAsync(new PutBucketPolicyRequest
        {
            BucketName = address.Bucket,
            Policy = $$"""{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::{{address.Bucket}}","arn:aws:s3:::{{address.Bucket}}/*"]}]}""",
        });
    }

    // Its monitor takes the port beside the one that is asked for, which another test may have by then.
    private static async Task<(Process Server, int Port)> Start()
    {
        for (int attempt = 1; ; attempt++)
        {
            int port = Ports.Free();
            var start = new ProcessStartInfo(SourceTree.Of("tests", "s3-server"), ["run", $"{port}"]) { RedirectStandardInput = true, RedirectStandardOutput = true };
            Process server = Process.Start(start)!;
            if (await server.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) == "ready")
                return (server, port);
            server.StandardInput.Close();
            await server.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(attempt < 3, $"the S3 server did not start in {attempt} attempts; the last one ended with {server.ExitCode}");
            server.Dispose();
        }
    }

    private sealed class Cut(CancellationTokenSource stop, int after) : IProgress<PublishProgress>
    {
        public void Report(PublishProgress value)
        {
            if (value.Step == PublishStep.Objects && value.Done >= after)
                stop.Cancel();
        }
    }
}
