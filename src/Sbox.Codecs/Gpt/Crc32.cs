namespace Sbox.Codecs.Gpt;

/// <summary>The cyclic redundancy check of ITU-T V.42, as GPT and gzip have it.</summary>
internal static class Crc32
{
    private const uint Polynomial = 0xEDB88320; // bits reversed

    public static uint Of(ReadOnlySpan<byte> bytes)
    {
        uint sum = uint.MaxValue;
        foreach (byte each in bytes)
        {
            sum ^= each;
            for (int bit = 0; bit < 8; bit++)
                sum = (sum >> 1) ^ ((sum & 1) * Polynomial);
        }

        return ~sum;
    }
}
