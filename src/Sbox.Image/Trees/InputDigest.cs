using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Image;

/// <summary>One checksum for a number of named inputs, in the order they are added; no two lists of inputs share one by running together.</summary>
internal sealed class InputDigest : IDisposable
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public InputDigest(string purpose) => Add(purpose);

    public InputDigest Add(ReadOnlySpan<byte> bytes)
    {
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, bytes.Length);
        hash.AppendData(length);
        hash.AppendData(bytes);
        return this;
    }

    public InputDigest Add(string? text) => text is null ? Add("null") : Add("text"u8).Add(Encoding.UTF8.GetBytes(text));

    public InputDigest Add(IEnumerable<string> texts)
    {
        string[] all = [.. texts];
        Add($"{all.Length}");
        foreach (string text in all)
            Add(text);
        return this;
    }

    public InputDigest Add(bool value) => Add(value ? "true" : "false");

    public InputDigest AddFile(string path) => Add(File.ReadAllBytes(path));

    public Checksum Finish() => Checksum.FromBytes(hash.GetHashAndReset());

    public void Dispose() => hash.Dispose();
}
