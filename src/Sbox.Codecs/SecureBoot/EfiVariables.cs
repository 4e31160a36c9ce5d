using System.Buffers.Binary;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Sbox.Codecs.SecureBoot;

/// <summary>A Secure Boot variable of the firmware.</summary>
/// <param name="Name">PK, KEK, db or dbx.</param>
/// <param name="Vendor">The namespace it is in.</param>
public readonly record struct EfiVariable(string Name, Guid Vendor)
{
    private static readonly Guid Global = new("8be4df61-93ca-11d2-aa0d-00e098032b8c");
    private static readonly Guid ImageSecurity = new("d719b2cb-3d3a-4596-a3bc-dad00e67656f");

    /// <summary>The platform key: who owns the machine.</summary>
    public static EfiVariable Pk { get; } = new("PK", Global);

    /// <summary>Who may change <see cref="Db"/>.</summary>
    public static EfiVariable Kek { get; } = new("KEK", Global);

    /// <summary>Whose programs start.</summary>
    public static EfiVariable Db { get; } = new("db", ImageSecurity);

    /// <summary>Whose programs do not start, whatever <see cref="Db"/> says.</summary>
    public static EfiVariable Dbx { get; } = new("dbx", ImageSecurity);

    /// <summary>One byte: whether the firmware checks programs.</summary>
    public static EfiVariable SecureBoot { get; } = new("SecureBoot", Global);

    /// <summary>One byte: whether the firmware takes new keys without asking for a signature.</summary>
    public static EfiVariable SetupMode { get; } = new("SetupMode", Global);

    /// <summary>The file of efivarfs: <c>db-d719b2cb-...</c>.</summary>
    public string FileName => $"{Name}-{Vendor}";
}

/// <summary>EFI_SIGNATURE_LIST: certificates as the firmware keeps them.</summary>
/// <remarks>docs/formats/secure-boot.md, after the UEFI specification, "Signature Database". Little endian.</remarks>
public static class EfiSignatureList
{
    private const string Format = "EFI signature list";
    private const int HeaderSize = 28, GuidSize = 16;
    private static readonly Guid X509 = new("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");

    /// <summary>A list of one certificate.</summary>
    /// <param name="certificate">The certificate.</param>
    /// <param name="owner">Who put it there.</param>
    public static byte[] Of(X509Certificate2 certificate, Guid owner)
    {
        byte[] der = certificate.RawData;
        var list = new byte[HeaderSize + GuidSize + der.Length];
        X509.TryWriteBytes(list);
        BinaryPrimitives.WriteUInt32LittleEndian(list.AsSpan(16), (uint)list.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(list.AsSpan(24), (uint)(GuidSize + der.Length));
        owner.TryWriteBytes(list.AsSpan(HeaderSize));
        der.CopyTo(list, HeaderSize + GuidSize);
        return list;
    }

    /// <summary>The certificates in lists, one list behind the other; hashes and keys of other kinds are left out.</summary>
    /// <exception cref="MalformedException">They are no such lists.</exception>
    public static IReadOnlyList<X509Certificate2> Certificates(ReadOnlySpan<byte> lists)
    {
        var certificates = new List<X509Certificate2>();
        while (!lists.IsEmpty)
        {
            var reader = new SpanReader(lists, Format);
            var type = new Guid(reader.ReadBytes(GuidSize, "type"));
            uint size = reader.ReadUInt32LittleEndian("size");
            uint headerSize = reader.ReadUInt32LittleEndian("header size");
            uint each = reader.ReadUInt32LittleEndian("signature size");
            if (size > lists.Length || size < HeaderSize + (long)headerSize || each < GuidSize)
                throw reader.Malformed("size", $"at most {lists.Length}, with entries of {GuidSize} or more", $"{size}, with entries of {each}");
            ReadOnlySpan<byte> entries = lists[(HeaderSize + (int)headerSize)..(int)size];
            for (; type == X509 && entries.Length >= each; entries = entries[(int)each..])
                certificates.Add(X509CertificateLoader.LoadCertificate(entries[GuidSize..(int)each]));
            lists = lists[(int)size..];
        }

        return certificates;
    }
}

/// <summary>EFI_VARIABLE_AUTHENTICATION_2 and the value behind it: a variable's new value with the signature that allows it (an .auth file).</summary>
/// <remarks>docs/formats/secure-boot.md, after the UEFI specification, "Variable Services".</remarks>
public static class EfiAuthenticatedVariable
{
    private const int TimeSize = 16, CertificateHeaderSize = 24;

    // Non-volatile, for boot services and the running system, authenticated by time.
    private const uint Attributes = 0x27;

    /// <summary>The attributes of a write that adds to what is there; efivarfs wants them in front of the file.</summary>
    public const uint AppendAttributes = Attributes | 0x40;

    private static readonly Guid Pkcs7 = new("4aafd29d-68df-49ee-8aa9-347d375665a7");

    /// <summary>Signs a variable's value.</summary>
    /// <param name="variable">Which variable.</param>
    /// <param name="value">Its whole new value, an <see cref="EfiSignatureList"/>.</param>
    /// <param name="time">Firmware refuses a value that is not newer than the one it has.</param>
    /// <param name="signer">The holder of the key above it: PK for PK and KEK, KEK for db.</param>
    /// <param name="append">Whether the value is added to what the firmware has, in place of taking its place; that is signed too.</param>
    public static byte[] Sign(EfiVariable variable, ReadOnlySpan<byte> value, DateTimeOffset time, Signer signer, bool append = false)
    {
        byte[] timestamp = Time(time.ToUniversalTime());
        var signed = new MemoryStream();
        signed.Write(Encoding.Unicode.GetBytes(variable.Name));
        signed.Write(variable.Vendor.ToByteArray());
        Span<byte> attributes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(attributes, append ? AppendAttributes : Attributes);
        signed.Write(attributes);
        signed.Write(timestamp);
        signed.Write(value);
        byte[] signature = SignedData.Detached(signer, signed.GetBuffer().AsSpan(0, (int)signed.Length));

        var file = new byte[TimeSize + CertificateHeaderSize + signature.Length + value.Length];
        timestamp.CopyTo(file, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(TimeSize), (uint)(CertificateHeaderSize + signature.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(TimeSize + 4), 0x0200);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(TimeSize + 6), 0x0EF1); // WIN_CERT_TYPE_EFI_GUID
        Pkcs7.TryWriteBytes(file.AsSpan(TimeSize + 8));
        signature.CopyTo(file, TimeSize + CertificateHeaderSize);
        value.CopyTo(file.AsSpan(TimeSize + CertificateHeaderSize + signature.Length));
        return file;
    }

    /// <summary>The value in an .auth file; its signature is not checked.</summary>
    /// <exception cref="MalformedException">It is no such file.</exception>
    public static ReadOnlySpan<byte> Value(ReadOnlySpan<byte> file)
    {
        var reader = new SpanReader(file, "authenticated EFI variable");
        reader.ReadBytes(TimeSize, "time");
        uint length = reader.ReadUInt32LittleEndian("certificate length");
        return length >= CertificateHeaderSize && length <= file.Length - TimeSize
            ? file[(TimeSize + (int)length)..]
            : throw reader.Malformed("certificate length", $"{CertificateHeaderSize} to {file.Length - TimeSize}", $"{length}");
    }

    private static byte[] Time(DateTimeOffset time)
    {
        var bytes = new byte[TimeSize];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, (ushort)time.Year);
        (bytes[2], bytes[3], bytes[4], bytes[5], bytes[6]) = ((byte)time.Month, (byte)time.Day, (byte)time.Hour, (byte)time.Minute, (byte)time.Second);
        return bytes;
    }
}
