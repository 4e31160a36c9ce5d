namespace Sbox.Buckets;

/// <summary>What opens a bucket.</summary>
/// <param name="AccessKey">The key's name.</param>
/// <param name="SecretKey">The secret; the client keeps it for as long as it lives.</param>
public sealed record S3Credentials(string AccessKey, string SecretKey)
{
    /// <summary>Reads a file of them, as Amazon's tools have it: <c>aws_access_key_id = ...</c>, <c>aws_secret_access_key = ...</c>.</summary>
    /// <param name="file">Its path.</param>
    /// <param name="profile">The section in it.</param>
    /// <exception cref="FormatException">The section does not have both.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static S3Credentials Read(string file, string profile)
    {
        string access = "", secret = "";
        bool mine = false;
        foreach (string line in File.ReadLines(file).Select(static line => line.Trim()))
        {
            if (line.StartsWith('['))
                mine = line.Trim('[', ']', ' ') == profile;
            string[] pair = line.Split('=', 2, StringSplitOptions.TrimEntries);
            if (!mine || pair.Length != 2)
                continue;
            access = pair[0] == "aws_access_key_id" ? pair[1] : access;
            secret = pair[0] == "aws_secret_access_key" ? pair[1] : secret;
        }

        return access.Length > 0 && secret.Length > 0 ? new S3Credentials(access, secret)
            : throw new FormatException($"{file}: no aws_access_key_id and aws_secret_access_key in [{profile}]");
    }

    /// <inheritdoc/>
    public override string ToString() => $"{AccessKey}:***";
}
